import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { ContainerState, NamespaceMode, PodSandboxState } from '../../src/wire/index.ts';
import { eventually, only } from '../harness/expect.ts';
import { BUSYBOX, TestNode } from '../harness/node.ts';
import { containerConfig, podConfig, runPod, stateOf } from '../harness/pods.ts';

const WIPE = '/etc/crio/crio.conf.d/60-wipe.conf';
const PERSIST = '/var/lib/crio/version';

const node = new TestNode({ images: ['busybox'] });
const sleeper = containerConfig('c', BUSYBOX, ['sleep', '1000000']);

before(async () => {
  await node.boot();
  await node.registry();
  await node.start();
  await node.client.PullImage({ image: { image: BUSYBOX } });
  const first = await runPod(node.client, podConfig(node.machine, 'first'), sleeper);
  await node.client.RemovePodSandbox({ podSandboxId: first.podSandboxId }, { timeoutMs: 3000 });
  await node.remember();
});
after(async () => await node.end());

async function pods(): Promise<number> {
  return (await node.client.ListPodSandbox()).items.length;
}

/** What pods left; processes have new ids after a boot. */
async function left(): Promise<string[]> {
  return (await node.leaks()).filter((leak) => !leak.startsWith('process '));
}

/** A pod with its own pause process, one without, one on the host's network, one that was stopped. */
async function fourPods() {
  const shared = podConfig(node.machine, 'shared');
  const namespaces = { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid: NamespaceMode.POD };
  const web = podConfig(node.machine, 'web', { portMappings: [{ hostPort: 8080, containerPort: 80 }] });
  const host = podConfig(node.machine, 'host');
  const stopped = podConfig(node.machine, 'stopped');
  const configs = [
    web,
    { ...shared, linux: { ...shared.linux, securityContext: { namespaceOptions: namespaces } } },
    { ...host, linux: { ...host.linux, securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } } },
    stopped,
  ];
  for (const config of configs) await runPod(node.client, config, sleeper);
  const { items } = await node.client.ListPodSandbox();
  const last = items.find(({ metadata }) => metadata?.name === 'stopped');
  await node.client.StopPodSandbox({ podSandboxId: last?.id ?? '' }, { timeoutMs: 3000 });
  return { web };
}

test('[O32 H59 D188 J49 B20 B23] after a reboot all pods are removed, CNI gets its addresses back although the namespaces have gone, images stay', async () => {
  await fourPods();
  await node.reboot();
  await node.start();
  await eventually('all pods are wiped', async () => (await pods()) === 0);
  assert.deepEqual((await node.client.ListContainers()).containers, []);
  assert.deepEqual(
    readdirSync(node.path('/var/lib/cni/networks/crio')).filter((name) => /^\d/.test(name)),
    [],
  );
  assert.deepEqual(readdirSync(node.path('/var/lib/cni/results')), []);
  assert.equal((await node.client.ListImages()).images.length, 2);
  assert.deepEqual(await left(), []);
});

test('[O32 p31] whoever asks for a pod of before the reboot gets a new one, and need not wait for the others', async () => {
  const { web } = await fourPods();
  const old = (await node.client.ListPodSandbox()).items.find(({ metadata }) => metadata?.name === 'web');
  await node.reboot();
  await node.start();
  const { podSandboxId, containerId } = await runPod(node.client, web, sleeper);
  assert.notEqual(podSandboxId, old?.id);
  await eventually('the others are wiped', async () => (await pods()) === 1);
  assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
  await node.client.ExecSync({ containerId, cmd: ['true'], timeout: 10n });
  await node.kill9();
  await node.start();
  assert.equal(await pods(), 1, 'the same boot: nothing is wiped');
  await node.client.RemovePodSandbox({ podSandboxId }, { timeoutMs: 3000 });
  assert.deepEqual(await left(), []);
});

test('[D182 B23] without internal_wipe pods of before a reboot are listed as stopped, and can be removed', async () => {
  node.write(WIPE, '[crio]\ninternal_wipe = false\n');
  await fourPods();
  await node.reboot();
  await node.start();
  const { items } = await node.client.ListPodSandbox();
  assert.deepEqual(
    items.map(({ state }) => state),
    Array.from({ length: 4 }, () => PodSandboxState.SANDBOX_NOTREADY),
  );
  for (const { id, state } of (await node.client.ListContainers()).containers) {
    assert.equal(state, ContainerState.CONTAINER_EXITED);
    assert.notEqual((await stateOf(node.client, id)).exitCode, 0);
  }
  for (const { id } of items) {
    await node.client.StopPodSandbox({ podSandboxId: id });
    await node.client.RemovePodSandbox({ podSandboxId: id });
  }
  assert.deepEqual(await left(), []);
  node.write(WIPE, '');
});

test('[O32 J49 B21] an upgrade removes pods in which nothing runs, and images that no pod needs', async () => {
  node.write(WIPE, `[crio]\nversion_file_persist = "${PERSIST}"\n`);
  const live = await runPod(node.client, podConfig(node.machine, 'live'), sleeper);
  const dead = podConfig(node.machine, 'dead');
  const { podSandboxId } = await runPod(node.client, dead, sleeper);
  await node.client.StopPodSandbox({ podSandboxId }, { timeoutMs: 3000 });
  await node.stop();
  node.write(PERSIST, '"1.36.4"');
  await node.start();
  await eventually('the pod in which nothing runs is wiped', async () => (await pods()) === 1);
  assert.equal(only((await node.client.ListPodSandbox()).items).id, live.podSandboxId);
  await node.client.ExecSync({ containerId: live.containerId, cmd: ['true'], timeout: 10n });
  assert.equal((await node.client.ListImages()).images.length, 2, 'both images are needed');
  await node.client.StopPodSandbox({ podSandboxId: live.podSandboxId }, { timeoutMs: 3000 });
  await node.stop();
  node.write(PERSIST, '"1.36.4"');
  await node.start();
  await eventually('images are wiped', async () => (await node.client.ListImages()).images.length === 0);
  assert.equal(await pods(), 0);
  assert.match(node.read(PERSIST), /^"1\.37\./);
});

test('[J51 O34] only an orderly stop leaves the file that says so', async () => {
  const clean = node.path('/var/lib/crio/clean.shutdown');
  assert.deepEqual([existsSync(clean), existsSync(`${clean}.supported`)], [false, true]);
  await node.stop();
  assert.ok(existsSync(clean));
  await node.start();
  assert.equal(existsSync(clean), false);
  await node.kill9();
  assert.equal(existsSync(clean), false);
});
