import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { ContainerState, NamespaceMode, PodSandboxState } from '../../src/wire/index.ts';
import { only } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, settled, stateOf } from '../harness/pods.ts';

const STORE = '/var/lib/containers/storage/overlay-containers';
const RUN = '/run/containers/storage/overlay-containers';
const INFRA = '/etc/crio/crio.conf.d/60-infra.conf';

const node = useNode({ images: ['busybox'] }, async ({ client, machine }) => {
  const { podSandboxId } = await runPod(client, podConfig(machine, 'first'), containerConfig('c', BUSYBOX, ['true']));
  await client.RemovePodSandbox({ podSandboxId });
});

async function restartAfter(change: () => void): Promise<void> {
  await node.kill9();
  change();
  await node.start();
}

async function remove(podSandboxId: string): Promise<void> {
  await node.client.StopPodSandbox({ podSandboxId }, { timeoutMs: 5000 });
  await node.client.RemovePodSandbox({ podSandboxId });
}

for (const drop of [true, false]) {
  test(`[D181] a pod ${drop ? 'without' : 'with'} a pause process stays so when drop_infra_ctr changes`, async () => {
    node.write(INFRA, `[crio.runtime]\ndrop_infra_ctr = ${drop}\n`);
    await node.restart();
    const config = podConfig(node.machine, 'dropped');
    const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
    const hasPause = () => existsSync(node.path(`/run/runc/${podSandboxId}`));
    assert.equal(hasPause(), !drop);
    await restartAfter(() => node.write(INFRA, `[crio.runtime]\ndrop_infra_ctr = ${!drop}\n`));
    assert.equal((await node.client.PodSandboxStatus({ podSandboxId })).status?.state, PodSandboxState.SANDBOX_READY);
    await node.client.ExecSync({ containerId, cmd: ['true'], timeout: 10n });
    await remove(podSandboxId);
    assert.equal(hasPause(), false);
    rmSync(node.path(INFRA));
  });
}

for (const runtimeHandler of ['runc', 'crun']) {
  test(`[D189] state of an old version that knows only a pid is completed from what ${runtimeHandler} knows`, async () => {
    const config = podConfig(node.machine, 'old');
    const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT), runtimeHandler);
    const file = `${STORE}/${containerId}/userdata/state.json`;
    await restartAfter(() => {
      const { initPid: _pid, initStartTime: _time, ...old } = JSON.parse(node.read(file)) as Record<string, unknown>;
      node.write(file, `${JSON.stringify(old)}\n`);
    });
    assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
    await node.client.StopContainer({ containerId, timeout: 10n });
    assert.equal((await stateOf(node.client, containerId)).exitCode, 0, 'it was told to end, and did');
    await remove(podSandboxId);
  });

  test(`[D180] a container that was started in the moment when the daemon died is running, as ${runtimeHandler} knows`, async () => {
    const sandboxConfig = podConfig(node.machine, 'moment');
    const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig, runtimeHandler });
    const config = containerConfig('c', BUSYBOX, ['sleep', '1000000']);
    const { containerId } = await node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
    await node.kill9();
    await node.exec([runtimeHandler, '--root', `/run/${runtimeHandler}`, 'start', containerId]);
    await node.start();
    assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
    await remove(podSandboxId);
  });
}

for (const [what, text] of [
  ['empty', ''],
  ['cut off', '{"ociVersion":"1.0.2","id":"'],
  ['missing', undefined],
] as const) {
  test(`[D185] a container whose state.json is ${what} is what its processes are: it can be used, stopped and removed`, async () => {
    const sandboxConfig = podConfig(node.machine, 'unread');
    const { podSandboxId, containerId } = await runPod(node.client, sandboxConfig, containerConfig('c', BUSYBOX, OBEDIENT));
    const once = containerConfig('once', BUSYBOX, ['sh', '-c', 'exit 7']);
    const ended = await node.client.CreateContainer({ podSandboxId, config: once, sandboxConfig });
    await node.client.StartContainer({ containerId: ended.containerId });
    await settled(node.client, ended.containerId);
    await restartAfter(() => {
      for (const id of [containerId, ended.containerId]) {
        const file = `${STORE}/${id}/userdata/state.json`;
        if (text === undefined) rmSync(node.path(file));
        else node.write(file, text);
      }
    });
    const status = await stateOf(node.client, ended.containerId);
    assert.deepEqual([status.state, status.exitCode], [ContainerState.CONTAINER_EXITED, 7]);
    await node.client.ExecSync({ containerId, cmd: ['true'], timeout: 10n });
    await node.client.StopContainer({ containerId, timeout: 10n });
    assert.equal((await stateOf(node.client, containerId)).exitCode, 0);
    await node.client.RemoveContainer({ containerId });
    const again = await node.client.CreateContainer({ podSandboxId, config: containerConfig('c', BUSYBOX, ['true']), sandboxConfig });
    assert.notEqual(again.containerId, containerId, 'its name is free');
    await remove(podSandboxId);
  });
}

test('[D179] a broken config.json is replaced by the copy in the run directory: nothing is lost', async () => {
  const config = podConfig(node.machine, 'healed', { labels: new Map([['a', 'b']]) });
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
  const view = async () => [await node.client.ListPodSandbox(), await node.client.ListContainers()];
  const before = await view();
  const files = [podSandboxId, containerId].map((id) => `${STORE}/${id}/userdata/config.json`);
  const texts = files.map((file) => node.read(file));
  await restartAfter(() => files.forEach((file) => node.write(file, '{"annotations":')));
  assert.deepEqual(await view(), before);
  assert.deepEqual(
    files.map((file) => node.read(file)),
    texts,
  );
  await remove(podSandboxId);
});

test('[D183 D184 p31] what can no longer be read at all is listed as stopped with what the storage tells, and can be removed with all that it had', async () => {
  const base = podConfig(node.machine, 'damaged');
  const namespaces = { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid: NamespaceMode.POD };
  const shared = { ...base, linux: { ...base.linux, securityContext: { namespaceOptions: namespaces } } };
  for (const config of [podConfig(node.machine, 'plain'), shared]) {
    const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
    await restartAfter(() => {
      for (const id of [podSandboxId, containerId])
        for (const root of [STORE, RUN]) node.write(`${root}/${id}/userdata/config.json`, 'nothing that can be read');
    });
    const pod = only((await node.client.ListPodSandbox()).items);
    assert.deepEqual([pod.id, pod.state, pod.metadata], [podSandboxId, PodSandboxState.SANDBOX_NOTREADY, config.metadata]);
    assert.equal(pod.labels.get('io.kubernetes.pod.uid'), config.metadata?.uid);
    const container = only((await node.client.ListContainers()).containers);
    assert.deepEqual([container.id, container.metadata?.name, container.state], [containerId, 'c', ContainerState.CONTAINER_RUNNING]);
    await node.client.StopContainer({ containerId, timeout: 10n });
    await remove(podSandboxId);
    const again = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
    await remove(again.podSandboxId);
  }
});
