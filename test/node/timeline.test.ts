import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../harness/expect.ts';
import { FAULTY, Faults } from '../harness/faults.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod } from '../harness/pods.ts';

const node = useNode({ images: ['busybox'], ...FAULTY });
const faults = new Faults(node);

async function crio(...args: string[]): Promise<string> {
  return (await node.crio(args)).stdout.toString('utf8');
}

test('crio inspect --timeline shows what was done to a pod and its containers, also when the pod has gone', async () => {
  const config = podConfig(node.machine, 'watched');
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
  let text = '';
  const isChecked = async () => /CheckNetwork watched, .* took /.test((text = await crio('inspect', '--timeline', 'watched')));
  await eventually('the network was checked', isChecked);
  for (const heading of ['RunPodSandbox watched, ', 'CreateContainer c, ', 'StartContainer c, ', 'CheckNetwork watched, '])
    assert.ok(text.includes(heading), text);
  assert.match(text, /\n {2}network +[|█]* +\d+\.\d\n(?:.*\n)* {4}bridge ADD +█+ +\d+\.\d\n/);
  assert.match(text, /\n {2}runc start +█+ +\d+\.\d\n/);
  assert.equal(await crio('inspect', '--timeline', containerId), text, 'a container stands for its pod');

  await node.client.StopPodSandbox({ podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId });
  const after = JSON.parse(await crio('inspect', '--timeline', '-o', 'json', podSandboxId)) as { operation: string; steps: unknown[] }[];
  const names = after.map(({ operation }) => operation);
  assert.deepEqual(names.slice(0, 3), ['RunPodSandbox', 'CreateContainer', 'StartContainer']);
  for (const name of ['StopPodSandbox', 'StopContainer', 'Exit', 'RemovePodSandbox', 'RemoveContainer'])
    assert.ok(names.includes(name), names.join());
  assert.ok(after.every(({ steps }) => steps.length > 0));
});

test('[p44] crio status operations names what is under way, and the step it hangs in', async () => {
  assert.equal(await crio('status', 'operations'), 'nothing is under way\n');
  const config = podConfig(node.machine, 'slow');
  faults.arm('stop-helper', 'helper RunPodSandbox/network/bridge ADD');
  const running = node.client.RunPodSandbox({ config });
  running.catch(() => {});
  let text = '';
  for (let tries = 0; !text.includes('in the step "bridge ADD"'); tries++) {
    assert.ok(tries < 200, text);
    await delay(20);
    text = await crio('status', 'operations');
  }
  assert.match(text, /^RunPodSandbox of pod [0-9a-f]{64} \(k8s_slow_default_[^)]*\): \d+\.\d s, for \d+\.\d s in the step "bridge ADD"\n$/);
  await node.machine.exec(['sh', '-c', 'kill -CONT $(pidof bridge)']);
  const { podSandboxId } = await running;
  await node.client.RemovePodSandbox({ podSandboxId });
});
