import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ContainerState, PodSandboxState } from '../../src/wire/index.ts';
import { multiplyPod } from '../harness/stored-copies.ts';
import { eventually } from '../harness/expect.ts';
import { BUSYBOX, TestNode } from '../harness/node.ts';
import { containerConfig, podConfig, runPod, stateOf } from '../harness/pods.ts';

const DEAD = 500;
const node = new TestNode({ images: ['busybox'] });
const sleeper = containerConfig('c', BUSYBOX, ['sleep', '1000000']);

before(async () => {
  await node.boot();
  await node.registry();
  await node.start();
  await node.client.PullImage({ image: { image: BUSYBOX } });
});
after(async () => await node.end());

test('[p31 O32] a node that boots with 500 dead pods on its disk answers before they are removed, and runs the first new pod meanwhile', async (t) => {
  await runPod(node.client, podConfig(node.machine, 'dead'), sleeper);
  await node.reboot();
  multiplyPod(node, 'dead', DEAD - 1);
  const began = performance.now();
  await node.start();
  const answered = performance.now();
  const { items } = await node.client.ListPodSandbox();
  assert.ok(items.length > DEAD / 2, `${items.length} of ${DEAD} are listed when the socket answers: the others were removed first`);
  assert.ok(items.every(({ state }) => state === PodSandboxState.SANDBOX_NOTREADY));
  const { podSandboxId, containerId } = await runPod(node.client, podConfig(node.machine, 'fresh'), sleeper);
  const ran = performance.now();
  const rest = (await node.client.ListPodSandbox()).items.length - 1;
  assert.ok(rest > 0, 'all dead pods were removed before the first new one ran');
  t.diagnostic(
    `${Math.round(answered - began)} ms until the socket answers, ${Math.round(ran - answered)} ms for the first pod, ${rest} dead pods left then`,
  );
  await eventually('dead pods go', async () => (await node.client.ListPodSandbox()).items.length <= rest - 10);
  assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
  await node.client.RemovePodSandbox({ podSandboxId }, { timeoutMs: 4000 });
});
