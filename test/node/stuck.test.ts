import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContainerState } from '../../src/wire/index.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, stateOf } from '../harness/pods.ts';
import { inspect, limit, processesOf, soon } from '../harness/processes.ts';

/** runc, which stops itself before a command for which there is a file `/run/hang/<command>`. */
const HANGS = `#!/bin/sh
for word; do
  if [ -e "/run/hang/$word" ]; then echo $$ > "/run/hang/$word"; kill -STOP $$; fi
done
exec /usr/sbin/runc "$@"
`;
const node = useNode({
  images: ['busybox'],
  config: '[crio.runtime.runtimes.hangs]\nruntime_path = "/etc/crio/runc-hangs"\nruntime_root = "/run/hangs"\n',
  files: { '/etc/crio/runc-hangs': HANGS, '/run/hang/none': '' },
});

function hang(command: string): void {
  node.write(`/run/hang/${command}`, '');
}

/** Until the runtime is there and does not go on. */
async function hanging(command: string): Promise<number> {
  await soon(`runc ${command} hangs`, () => node.read(`/run/hang/${command}`) !== '', 20_000);
  return Number(node.read(`/run/hang/${command}`));
}

async function heal(command: string): Promise<void> {
  await node.exec(['rm', '-f', `/run/hang/${command}`]);
}

async function pod(name: string, command: readonly string[] = OBEDIENT) {
  return await runPod(node.client, podConfig(node.machine, name), containerConfig('c', BUSYBOX, command), 'hangs');
}

async function took(work: Promise<unknown>): Promise<number> {
  const began = Date.now();
  await work;
  return Date.now() - began;
}

test('[K65 C82 C83 D157] a container is paused and resumed over HTTP, or the state that it is in is told', async () => {
  const { podSandboxId, containerId } = await pod('paused', ['sh', '-c', 'trap "exit 3" TERM; while :; do sleep 0.1; done']);
  const { init } = await processesOf(node, containerId);
  const frozen = async () => (await node.exec(['cat', `/proc/${init}/wchan`])).stdout.toString('utf8');
  assert.deepEqual(await inspect(node, `/unpause/${containerId}`), {
    code: 409,
    body: 'container is not in paused state, now is running\n',
  });
  assert.deepEqual(await inspect(node, `/pause/${containerId}`), { code: 200, body: '200 OK' });
  assert.match(await frozen(), /freez|refrigerator/);
  assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
  assert.deepEqual(await inspect(node, `/pause/${containerId}`), {
    code: 409,
    body: 'container is not in running or created state, now is paused\n',
  });
  assert.deepEqual(await inspect(node, `/unpause/${containerId}`), { code: 200, body: '200 OK' });
  assert.doesNotMatch(await frozen(), /freez|refrigerator/);
  const unknown = 'f'.repeat(64);
  for (const verb of ['pause', 'unpause']) {
    assert.deepEqual(await inspect(node, `/${verb}/${unknown}`), { code: 404, body: `can't find the container with id ${unknown}\n` });
  }
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[K65 D140] one that waits for its start is paused and resumed too; a paused one survives a restart, and stops by its signal', async () => {
  const sandboxConfig = podConfig(node.machine, 'waiting');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig, runtimeHandler: 'hangs' });
  const config = containerConfig('c', BUSYBOX, ['sh', '-c', 'trap "exit 3" TERM; while :; do sleep 0.1; done']);
  const { containerId } = await node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
  for (const verb of ['pause', 'unpause']) assert.equal((await inspect(node, `/${verb}/${containerId}`)).code, 200);
  assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_CREATED);
  await node.client.StartContainer({ containerId });
  await soon('it has its handler', async () => {
    const { init } = await processesOf(node, containerId);
    return /SigCgt:.*[4567cdef]...$/m.test((await node.exec(['cat', `/proc/${init}/status`])).stdout.toString('utf8'));
  });
  assert.equal((await inspect(node, `/pause/${containerId}`)).code, 200);
  await node.restart();
  assert.equal((await inspect(node, `/pause/${containerId}`)).code, 409);
  await node.client.StopContainer({ containerId, timeout: 20n });
  assert.equal((await stateOf(node.client, containerId)).exitCode, 3);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D140 p07] a paused container whose runtime hangs at the resume is thawed all the same, and stops by its signal', async () => {
  const { podSandboxId, containerId } = await pod('frozen');
  assert.equal((await inspect(node, `/pause/${containerId}`)).code, 200);
  hang('resume');
  const ms = await took(node.client.StopContainer({ containerId, timeout: 10n }));
  assert.ok(ms < limit(10_000), `the stop took ${ms} ms`);
  assert.equal((await stateOf(node.client, containerId)).exitCode, 0);
  assert.match(node.log(), new RegExp(`Failed to resume paused container ${containerId} to stop it: .*did not end within 1000 ms`));
  await heal('resume');
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D140 p07] a container that somebody froze without telling us is thawed to be killed', async () => {
  const { podSandboxId, containerId } = await pod('secretly');
  await node.exec(['runc', '--root', '/run/hangs', 'pause', containerId]);
  const ms = await took(node.client.StopContainer({ containerId, timeout: 1n }));
  assert.ok(ms < limit(1000 + 5000), `the stop took ${ms} ms`);
  assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_EXITED);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[p07 K64] a runtime that hangs at an update does not hold up the stop, and is ended; the update fails', async () => {
  const { podSandboxId, containerId } = await pod('update');
  hang('update');
  const update = node.client.UpdateContainerResources({ containerId, linux: { cpuShares: 512n } }, { timeoutMs: 60_000 });
  const failed = assert.rejects(update, /was killed: it hung while container/);
  const pid = await hanging('update');
  const ms = await took(node.client.StopContainer({ containerId, timeout: 2n }));
  assert.ok(ms < limit(2000 + 5000), `the stop took ${ms} ms`);
  await failed;
  await soon('the runtime has ended', async () => (await node.exec(['test', '-e', `/proc/${pid}`], { mayFail: true })).code !== 0);
  await heal('update');
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[p07] a runtime that hangs at the start of a container does not hold up its stop nor the removal of its pod', async () => {
  const sandboxConfig = podConfig(node.machine, 'start');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig, runtimeHandler: 'hangs' });
  const { containerId } = await node.client.CreateContainer({
    podSandboxId,
    config: containerConfig('c', BUSYBOX, OBEDIENT),
    sandboxConfig,
  });
  hang('start');
  const start = node.client.StartContainer({ containerId }, { timeoutMs: 60_000 });
  const failed = assert.rejects(start, /failed to start container/);
  await hanging('start');
  const ms = await took(node.client.StopContainer({ containerId, timeout: 2n }));
  assert.ok(ms < limit(2000 + 5000), `the stop took ${ms} ms`);
  await failed;
  await heal('start');
  await node.client.RemovePodSandbox({ podSandboxId });
});
