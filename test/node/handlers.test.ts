import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ContainerState, NamespaceMode, PodSandboxState } from '../../src/wire/index.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { type ContainerInput, containerConfig, podConfig, settled, startPod, stateOf } from '../harness/pods.ts';
import { exitedSoon, limit, processesOf, signal, soon } from '../harness/processes.ts';
import { projectRoot, unpackedTool } from '../harness/tools.ts';

const runsc = unpackedTool('usr/bin/runsc');
const node = useNode({
  images: ['busybox'],
  config: `
[crio.runtime.runtimes.runsc]
runtime_path = "${projectRoot}/examples/runsc-oci"
runtime_root = "/run/runsc"
monitor_cgroup = "pod"
monitor_env = ["RUNSC=${runsc}", "RUNSC_FLAGS=--platform=ptrace --network=none"]
`,
});

/** Ends with 5 when it is told to, and says so. */
const OBEDIENT = ['sh', '-c', 'trap "echo ending; exit 5" TERM; echo ready; while :; do sleep 0.1; done'];
const DEAF = ['sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.1; done'];

/** What every handler of type oci must do alike [K1]. */
for (const handler of ['runc', 'crun', 'runsc'] as const) {
  const skip = handler === 'runsc' && !existsSync(runsc) ? `there is no Debian package runsc for ${process.arch}` : false;
  const config = () => podConfig(node.machine, handler);
  const contract = (name: string, body: () => Promise<void>) => {
    void test(`[K1] ${handler}: ${name}`, { skip }, body);
  };

  const run = async (command: readonly string[], more: ContainerInput = {}) => {
    const pod = config();
    const ids = await startPod(node.client, pod, containerConfig('c', BUSYBOX, command, more), handler);
    const log = () => node.read(`${pod.logDirectory}/c.log`);
    return { ...ids, log };
  };
  const exec = async (containerId: string, ...cmd: string[]) => {
    const { stdout, stderr, exitCode } = await node.client.ExecSync({ containerId, cmd, timeout: 30n });
    return { stdout: Buffer.from(stdout).toString('utf8'), stderr: Buffer.from(stderr).toString('utf8'), exitCode };
  };
  const ready = async (log: () => string) => await soon('it is ready', () => log().includes('ready'), 20_000);
  const remove = async (podSandboxId: string) => {
    await node.client.StopPodSandbox({ podSandboxId });
    await node.client.RemovePodSandbox({ podSandboxId });
  };

  contract('a pod comes up with a container that runs, writes its log and takes commands', async () => {
    const { podSandboxId, containerId, log } = await run(OBEDIENT);
    await ready(log);
    assert.match(log(), /^\S+ stdout F ready$/m);
    assert.equal((await node.client.PodSandboxStatus({ podSandboxId })).status?.state, PodSandboxState.SANDBOX_READY);
    assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
    assert.deepEqual(await exec(containerId, 'sh', '-c', 'echo out; echo err >&2; exit 3'), {
      stdout: 'out\n',
      stderr: 'err\n',
      exitCode: 3,
    });
    assert.equal((await exec(containerId, 'cat', '/proc/1/comm')).stdout, 'sh\n');
    await remove(podSandboxId);
  });

  contract('the stop signal is obeyed: what it says on it is in the log, its exit code is known', async () => {
    const { podSandboxId, containerId, log } = await run(OBEDIENT);
    await ready(log);
    const began = Date.now();
    await node.client.StopContainer({ containerId, timeout: 20n });
    assert.ok(Date.now() - began < limit(15_000));
    const { state, exitCode, reason } = await stateOf(node.client, containerId);
    assert.deepEqual([state, exitCode, reason], [ContainerState.CONTAINER_EXITED, 5, 'Error']);
    assert.match(log(), /stdout F ending$/m);
    await node.client.StopContainer({ containerId, timeout: 20n });
    await node.client.RemoveContainer({ containerId });
    await remove(podSandboxId);
  });

  contract('what does not obey is killed when its time is over', async () => {
    const { podSandboxId, containerId, log } = await run(DEAF);
    await ready(log);
    const began = Date.now();
    await node.client.StopContainer({ containerId, timeout: 1n });
    const took = Date.now() - began;
    assert.ok(took >= 1000 && took < limit(8000), `the stop took ${took} ms`);
    assert.equal((await stateOf(node.client, containerId)).exitCode, 137);
    await remove(podSandboxId);
  });

  contract('exit codes are those of the process', async () => {
    for (const code of [0, 7, 255]) {
      const { podSandboxId, containerId } = await run(['sh', '-c', `exit ${code}`]);
      const status = await settled(node.client, containerId);
      assert.deepEqual([status.exitCode, status.reason], [code, code === 0 ? 'Completed' : 'Error']);
      assert.ok(status.finishedAt >= status.startedAt && status.startedAt >= status.createdAt);
      await remove(podSandboxId);
    }
  });

  contract('a daemon that is killed finds everything again: what runs, and how ended what has ended', async () => {
    const { podSandboxId, containerId, log } = await run(OBEDIENT);
    await ready(log);
    const other = await run(['sh', '-c', 'sleep 2; exit 9']);
    await node.kill9();
    await delay(3000);
    await node.start();
    assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
    assert.equal((await exec(containerId, 'echo', 'here')).stdout, 'here\n');
    assert.equal((await exitedSoon(node, other.containerId)).exitCode, 9);
    await node.client.StopContainer({ containerId, timeout: 20n });
    assert.equal((await stateOf(node.client, containerId)).exitCode, 5);
    await remove(podSandboxId);
    await remove(other.podSandboxId);
  });

  contract('a container that was never started is removed, and so is a pod whose containers run', async () => {
    const sandboxConfig = config();
    const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig, runtimeHandler: handler });
    const ids: string[] = [];
    for (const name of ['a', 'b']) {
      const made = containerConfig(name, BUSYBOX, OBEDIENT);
      ids.push((await node.client.CreateContainer({ podSandboxId, config: made, sandboxConfig })).containerId);
    }
    assert.equal((await stateOf(node.client, ids[0] ?? '')).state, ContainerState.CONTAINER_CREATED);
    await node.client.RemoveContainer({ containerId: ids[0] ?? '' });
    await node.client.StartContainer({ containerId: ids[1] ?? '' });
    await ready(() => node.read(`${sandboxConfig.logDirectory}/b.log`));
    await node.client.RemovePodSandbox({ podSandboxId });
    assert.deepEqual((await node.client.ListContainers()).containers, []);
  });

  contract('a container whose process and monitor are killed together is found out', async () => {
    const { podSandboxId, containerId, log } = await run(OBEDIENT);
    await ready(log);
    const { init, monitor } = await processesOf(node, containerId);
    await signal(node, 'KILL', init, monitor);
    const { exitCode } = await exitedSoon(node, containerId);
    assert.ok([137, 255].includes(exitCode), `exit code ${exitCode}`);
    await remove(podSandboxId);
  });

  if (handler !== 'runsc') {
    contract('a process that takes more memory than it may is told as OOMKilled [K43]', async () => {
      const { podSandboxId, containerId } = await run(['sh', '-c', 'tail /dev/zero; exit 1'], {
        linux: {
          resources: { memoryLimitInBytes: 16n * 1024n * 1024n },
          securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } },
        },
      });
      assert.equal((await settled(node.client, containerId)).reason, 'OOMKilled');
      await remove(podSandboxId);
    });
  }
}
