import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { NamespaceMode, PodSandboxState, SecurityProfile_ProfileType } from '../../src/wire/index.ts';
import { refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { containerConfig, podConfig, runPod } from '../harness/pods.ts';

const config = `
[crio.image]
pause_image = "${BUSYBOX}"
pause_command = "/bin/true"
[crio.runtime.runtimes.runc]
runtime_path = "/usr/sbin/runc"
runtime_root = "/run/runc"
allowed_annotations = ["shm-size.crio.io"]
`;
const node = useNode({ images: ['busybox'], config }, async ({ client, machine }) => {
  const { podSandboxId } = await client.RunPodSandbox({ config: podConfig(machine, 'first') });
  await client.RemovePodSandbox({ podSandboxId });
});

function options(pid: number, network: number = NamespaceMode.POD) {
  return { securityContext: { namespaceOptions: { network, ipc: NamespaceMode.POD, pid } } };
}

test('[D111] a pod whose pause process ends at once is not ready, however early that was', async () => {
  for (let round = 0; round < 5; round++) {
    const base = podConfig(node.machine, `brief-${round}`);
    const { podSandboxId } = await node.client.RunPodSandbox({
      config: { ...base, linux: { ...base.linux, ...options(NamespaceMode.POD) } },
    });
    const state = async () => (await node.client.PodSandboxStatus({ podSandboxId })).status?.state;
    for (let tries = 0; tries < 100 && (await state()) !== PodSandboxState.SANDBOX_NOTREADY; tries++) await delay(20);
    assert.equal(await state(), PodSandboxState.SANDBOX_NOTREADY);
    await node.client.RemovePodSandbox({ podSandboxId });
  }
});

test('[D51] a pod that fails in one half while the other is being made leaves nothing of either', async () => {
  for (let round = 0; round < 5; round++) {
    const base = podConfig(node.machine, `half-${round}`, { annotations: new Map([['shm-size.crio.io', 'much']]) });
    const linux = { ...base.linux, ...options(NamespaceMode.CONTAINER, NamespaceMode.NODE) };
    await refused(node.client.RunPodSandbox({ config: { ...base, linux } }), 'INVALID_ARGUMENT', /failed to parse shm size 'much'/);
  }
});

test('a container that fails in one part of its preparation while another is being made leaves nothing', async () => {
  const sandboxConfig = podConfig(node.machine, 'parts');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig });
  for (let round = 0; round < 5; round++) {
    const made = containerConfig('c', BUSYBOX, ['true'], {
      mounts: [{ containerPath: '/image', image: { image: BUSYBOX } }],
      linux: {
        resources: {},
        securityContext: {
          namespaceOptions: { pid: NamespaceMode.CONTAINER },
          seccomp: { profileType: SecurityProfile_ProfileType.Localhost, localhostRef: '/no/such.json' },
        },
      },
    });
    await assert.rejects(node.client.CreateContainer({ podSandboxId, config: made, sandboxConfig }), /no\/such\.json/);
  }
  await node.client.RemovePodSandbox({ podSandboxId });
});

for (const runtimeHandler of ['', 'crun']) {
  test(`[D152] a container that was never started is removed at once (${runtimeHandler === '' ? 'runc' : runtimeHandler})`, async () => {
    const sandboxConfig = podConfig(node.machine, 'unstarted');
    const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig, runtimeHandler });
    const { containerId } = await node.client.CreateContainer({
      podSandboxId,
      config: containerConfig('c', BUSYBOX, ['true']),
      sandboxConfig,
    });
    const began = Date.now();
    await node.client.RemoveContainer({ containerId });
    assert.ok(Date.now() - began < 5000);
    await node.client.RemovePodSandbox({ podSandboxId });
  });
}

test('[D152] the removal of a container that does not obey answers before its client gives up', async () => {
  const deaf = containerConfig('c', BUSYBOX, ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done']);
  const { podSandboxId, containerId } = await runPod(node.client, podConfig(node.machine, 'deaf'), deaf);
  await node.client.RemoveContainer({ containerId }, { timeoutMs: 4000 });
  await node.client.RemovePodSandbox({ podSandboxId });
});
