import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { processStat } from '../../src/linux/index.ts';
import { ContainerState } from '../../src/wire/index.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, stateOf } from '../harness/pods.ts';
import { exitedSoon, limit, processesOf, signal, soon } from '../harness/processes.ts';

const node = useNode({ images: ['busybox'] });
const SLEEP = ['sleep', '1000'];
const DEAF = ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'];
/** Tells how a process ended whoever its parent is: kernels from 6.15 on. */
const kernelTells = Number(/^\d+\.\d+/.exec(readFileSync('/proc/sys/kernel/osrelease', 'utf8'))?.[0]) >= 6.15;

async function pod(name: string, command: readonly string[]) {
  return await runPod(node.client, podConfig(node.machine, name), containerConfig('c', BUSYBOX, command));
}

for (const runtimeHandler of ['runc', 'crun']) {
  test(`[p08] ${runtimeHandler}: a container whose monitor is killed with it has exited at once, with its code or a reason why there is none`, async () => {
    const config = containerConfig('c', BUSYBOX, SLEEP);
    const { podSandboxId, containerId } = await runPod(node.client, podConfig(node.machine, 'both'), config, runtimeHandler);
    const { init, monitor } = await processesOf(node, containerId);
    await signal(node, 'KILL', monitor, init);
    const status = await exitedSoon(node, containerId);
    assert.ok(status.exitCode === 137 || (!kernelTells && status.exitCode === 255), `exit code ${status.exitCode}`);
    assert.equal(status.reason, 'Error');
    assert.match(status.message, /the monitor of the container \(conmon\) did not record/);
    await node.client.RemovePodSandbox({ podSandboxId });
  });
}

test('[p08] no room to write the exit down, in either place: the exit is known all the same', async () => {
  const { podSandboxId, containerId } = await pod('full', SLEEP);
  const { init } = await processesOf(node, containerId);
  const directory = `/var/lib/containers/storage/overlay-containers/${containerId}/userdata`;
  const places = ['/run/crio/exits', directory];
  for (const place of places) {
    await node.exec(['mount', '-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', place]);
    await node.exec(['sh', '-c', `head -c 4096 /dev/zero > ${place}/full`]);
  }
  await signal(node, 'KILL', init);
  const status = await exitedSoon(node, containerId);
  assert.ok(status.exitCode === 137 || (!kernelTells && status.exitCode === 255), `exit code ${status.exitCode}`);
  for (const place of places) await node.exec(['umount', place]);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[p09 a30 D176] a monitor that is killed is reported at once, the container is left running, and its end is known', async () => {
  const { podSandboxId, containerId } = await pod('orphan', ['sh', '-c', 'trap "exit 6" TERM; while :; do sleep 0.1; done']);
  const { init, monitor } = await processesOf(node, containerId);
  const reported = new RegExp(`level=error msg="The monitor of container ${containerId} \\(k8s_c_orphan_.*the container runs on`);
  assert.doesNotMatch(node.log(), reported);
  await signal(node, 'KILL', monitor);
  await soon('the report', () => reported.test(node.log()));
  assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
  assert.equal((await processesOf(node, containerId)).init, init);
  await node.client.StopContainer({ containerId, timeout: 20n });
  const { exitCode } = await stateOf(node.client, containerId);
  assert.ok(exitCode === 6 || (!kernelTells && exitCode === 255), `exit code ${exitCode}`);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D177] a monitor that was killed while the daemon was away, or whose number is another process now, is reported at the start', async () => {
  const gone = await pod('gone', SLEEP);
  const kept = await pod('kept', SLEEP);
  await node.kill9();
  const monitorOf = (id: string) => Number(node.read(`/run/containers/storage/overlay-containers/${id}/userdata/conmon-pidfile`));
  await signal(node, 'KILL', monitorOf(gone.containerId));
  await soon(
    'the monitor has ended',
    async () => (await node.exec(['test', '-e', `/proc/${monitorOf(gone.containerId)}`], { mayFail: true })).code !== 0,
  );
  const state = `/var/lib/containers/storage/overlay-containers/${kept.containerId}/userdata/state.json`;
  node.write(state, node.read(state).replace(/("containerMonitorProcess":\{"pid":\d+,"startTime":")\d+/, '$17'));
  await node.start();
  for (const { containerId, podSandboxId } of [gone, kept]) {
    assert.match(node.log(), new RegExp(`The monitor of container ${containerId} .*the container runs on`));
    assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
    await node.client.RemovePodSandbox({ podSandboxId }, { timeoutMs: 4000 });
  }
});

test('[p06] container and monitor are killed while the container is being stopped: the stop ends, the removal takes no time', async () => {
  const { podSandboxId, containerId } = await pod('stopping', DEAF);
  const stop = node.client.StopContainer({ containerId, timeout: 600n }, { timeoutMs: 60_000 });
  const { init, monitor } = await processesOf(node, containerId);
  await signal(node, 'KILL', monitor, init);
  await stop;
  const began = Date.now();
  await node.client.RemoveContainer({ containerId });
  assert.ok(Date.now() - began < limit(4000), `the removal took ${Date.now() - began} ms`);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[p06] execs that hang, and one whose output nobody reads, hold up no stop', async () => {
  const { podSandboxId, containerId } = await pod('execs', OBEDIENT);
  const gone = new AbortController();
  const execs = [
    node.client.ExecSync({ containerId, cmd: ['sleep', '1000'], timeout: 0n }, { timeoutMs: 60_000 }),
    node.client.ExecSync({ containerId, cmd: ['yes'], timeout: 0n }, { timeoutMs: 60_000 }),
    node.client.ExecSync({ containerId, cmd: ['yes', 'unread'], timeout: 0n }, { timeoutMs: 60_000, signal: gone.signal }),
  ];
  const settled = Promise.allSettled(execs);
  const running = ['sh', '-c', 'test $(ls -d /proc/[0-9]* | wc -l) -ge 6'];
  await soon(
    'the commands run',
    async () => (await node.client.ExecSync({ containerId, cmd: running, timeout: 10n })).exitCode === 0,
    20_000,
  );
  gone.abort();
  const began = Date.now();
  await node.client.StopContainer({ containerId, timeout: 20n });
  assert.ok(Date.now() - began < limit(10_000), `the stop took ${Date.now() - began} ms`);
  assert.equal((await stateOf(node.client, containerId)).exitCode, 0);
  await node.client.RemovePodSandbox({ podSandboxId });
  await settled;
});

test('[p07] a monitor that hangs: a thousand polls cost nothing, the stop ends within its time and five seconds, the monitor is ended', async () => {
  const { podSandboxId, containerId } = await pod('hangs', DEAF);
  const { monitor } = await processesOf(node, containerId);
  await signal(node, 'STOP', monitor);
  const poll = async (times: number) => {
    for (let n = 0; n < times; n++) {
      await node.client.ContainerStatus({ containerId, verbose: true });
      await node.client.ListContainers();
    }
  };
  const children = () => readFileSync(`/proc/${node.daemonPid}/task/${node.daemonPid}/children`, 'utf8').trim();
  const descriptors = async () =>
    Number((await node.exec(['sh', '-c', `ls /proc/${node.machine.pidInside(node.daemonPid)}/fd | wc -l`])).stdout.toString());
  await poll(1000); // Until the code is compiled and the heap has its size.
  const before = { anonymous: anonymousMiB(node.daemonPid), children: children(), descriptors: await descriptors() };
  // What is kept for each poll is kept in every round; the heap grows now and then.
  const sizes = [before.anonymous];
  for (let round = 0; round < 3; round++) {
    await poll(500);
    sizes.push(anonymousMiB(node.daemonPid));
  }
  const grown = Math.min(...sizes.slice(1).map((size, at) => size - (sizes[at] ?? 0)));
  assert.ok(grown < 2, `memory in MiB after each 500 polls: ${sizes.join(', ')}`);
  assert.equal(children(), before.children);
  assert.equal(await descriptors(), before.descriptors);
  const began = Date.now();
  await node.client.StopContainer({ containerId, timeout: 2n });
  const took = Date.now() - began;
  assert.ok(took >= 2000 && took < 2000 + limit(5000), `the stop took ${took} ms`);
  assert.equal((await stateOf(node.client, containerId)).exitCode, 137); // A zombie, for nobody waits: its code is in /proc.
  await node.client.RemovePodSandbox({ podSandboxId });
});

function anonymousMiB(pid: number): number {
  return Number(/^Anonymous:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) / 1024;
}

test('[D172] more files in the exits directory than the kernel tells of: the directory is read, no exit is lost', async () => {
  const { podSandboxId, containerId } = await pod('flood', ['sh', '-c', 'trap "exit 4" TERM; while :; do sleep 0.1; done']);
  const { init } = await processesOf(node, containerId);
  await soon('it listens', async () =>
    /SigCgt:.*[4567cdef]...$/m.test((await node.exec(['cat', `/proc/${init}/status`])).stdout.toString('utf8')),
  );
  const daemon = node.machine.pidInside(node.daemonPid);
  await signal(node, 'STOP', daemon);
  const exits = node.path('/run/crio/exits');
  const [one, other] = [join(exits, 'a'.repeat(64)), join(exits, 'b'.repeat(64))];
  writeFileSync(one, '0');
  for (let n = 0; n < 10_000; n++) {
    renameSync(one, other);
    renameSync(other, one);
  }
  await signal(node, 'TERM', init);
  await soon('conmon has written', () => existsSync(join(exits, containerId)));
  await signal(node, 'CONT', daemon);
  process.kill(processStat(node.daemonPid)?.parent ?? 0, 'SIGCONT'); // nsenter stops with what it waits for.
  assert.equal((await exitedSoon(node, containerId)).exitCode, 4);
  await soon('the directory is read', () => /More exits in \S+ than the kernel's queue holds/.test(node.log()) && !existsSync(one));
  await node.client.RemovePodSandbox({ podSandboxId });
});
