import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { PodSandboxState } from '../../src/wire/index.ts';
import { FAULTY, Faults } from '../harness/faults.ts';
import { BUSYBOX, NETWORK_FILES, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod } from '../harness/pods.ts';

/** A plugin after the real ones, which keeps the result as it is, and refuses CHECK or takes its time for DEL when it was told so. */
const CHECKER = `#!/bin/sh
input=$(cat)
[ "$CNI_COMMAND" != VERSION ] || exec echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}'
echo "$CNI_COMMAND $CNI_CONTAINERID" >> /etc/cni/asked
[ "$CNI_COMMAND" != DEL ] || [ ! -e /etc/cni/slow ] || sleep 2
[ "$CNI_COMMAND" != CHECK ] || [ ! -e /etc/cni/broken ] || { echo '{"code":11,"msg":"the pod has no route"}'; exit 1; }
[ "$CNI_COMMAND" != ADD ] || echo "$input" | sed 's/.*"prevResult"://; s/,"type":"checker".*//; s/}$//'
`;
const conflist = JSON.parse(NETWORK_FILES['/etc/cni/net.d/10-bridge.conflist'] ?? '') as { plugins: object[] };

const node = useNode({
  images: ['busybox'],
  env: FAULTY.env,
  config: '[crio.network]\nplugin_dirs = ["/usr/lib/cni", "/etc/cni/bin"]\n',
  files: {
    ...FAULTY.files,
    '/etc/cni/net.d/10-bridge.conflist': JSON.stringify({ ...conflist, plugins: [...conflist.plugins, { type: 'checker' }] }),
    '/etc/cni/bin/checker': CHECKER,
  },
});

test('[H38] a pod that fails CHECK is not ready any more, and its containers can be taken down in order', async () => {
  const config = podConfig(node.machine, 'checked');
  node.write('/etc/cni/broken', '');
  const { podSandboxId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
  const state = async () => (await node.client.PodSandboxStatus({ podSandboxId })).status?.state;
  for (let tries = 0; (await state()) === PodSandboxState.SANDBOX_READY; tries++) {
    assert.ok(tries < 300, 'the pod stays ready');
    await delay(20);
  }
  assert.match(
    node.log(),
    /Pod k8s_checked_default_.* is not ready any more: failed to get network status for pod sandbox .*: the pod has no route/,
  );
  await node.client.StopPodSandbox({ podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId });
  await node.machine.exec(['rm', '/etc/cni/broken']);
});

test('[H38] a pod that is taken down when CHECK is due is not asked for afterwards', async () => {
  node.write('/etc/cni/slow', '');
  const pods: string[] = [];
  for (const name of ['brief', 'next']) {
    const { podSandboxId } = await node.client.RunPodSandbox({ config: podConfig(node.machine, name) });
    await node.client.StopPodSandbox({ podSandboxId });
    await node.client.RemovePodSandbox({ podSandboxId });
    pods.push(podSandboxId);
  }
  const asked = node.read('/etc/cni/asked').split('\n');
  assert.deepEqual(
    asked.filter((line) => line.endsWith(pods[0] ?? '?')).map((line) => line.split(' ')[0]),
    ['ADD', 'DEL'],
  );
  assert.doesNotMatch(node.log(), /Pod k8s_brief_.* is not ready any more/);
  await node.machine.exec(['rm', '/etc/cni/slow']);
});

test('[H38] a daemon that is killed while CHECK looks leaves the pod as it is', async () => {
  const faults = new Faults(node);
  faults.arm('kill', 'helper CheckNetwork/checker CHECK');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: podConfig(node.machine, 'cut') }); // No more: there is a second.
  await node.ended('CHECK');
  await node.start();
  const { status } = await node.client.PodSandboxStatus({ podSandboxId });
  assert.equal(status?.state, PodSandboxState.SANDBOX_READY);
  assert.equal(status.network?.ip.startsWith('10.'), true);
  await node.client.StopPodSandbox({ podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId });
  assert.deepEqual(await node.leaks(), []);
});
