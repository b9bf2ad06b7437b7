import assert from 'node:assert/strict';
import { chmodSync, existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { BUSYBOX, TestNode } from '../harness/node.ts';
import { containerConfig, podConfig, runPod, stateOf } from '../harness/pods.ts';
import { ContainerState } from '../../src/wire/index.ts';

/** A network plugin that takes as many seconds for ADD as /run/slow says, and notes what it was asked. */
const SLOW = `#!/bin/sh
cat > /dev/null
echo "$CNI_COMMAND" >> /run/slow.log
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}' ;;
ADD) sleep "$(cat /run/slow)"; echo '{"cniVersion":"1.0.0","interfaces":[],"ips":[{"address":"10.9.0.5/24"}]}' ;;
esac
`;

const node = new TestNode({
  images: ['busybox'],
  config: '[crio.network]\nplugin_dirs = ["/etc/cni/slow"]\n',
  files: {
    '/etc/cni/slow/slow': SLOW,
    '/etc/cni/net.d/10-bridge.conflist': JSON.stringify({ cniVersion: '1.0.0', name: 'slow', plugins: [{ type: 'slow' }] }),
  },
});

before(async () => {
  await node.boot();
  chmodSync(node.path('/etc/cni/slow/slow'), 0o755);
  await node.registry();
  await node.start();
  await node.client.PullImage({ image: { image: BUSYBOX } });
  node.write('/run/slow', '0');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: podConfig(node.machine, 'first') });
  await node.client.RemovePodSandbox({ podSandboxId });
  await node.remember();
});
after(async () => await node.end());

/** Begins a pod whose network takes so long; settles when the plugin works on it. */
async function beginPod(name: string, seconds: number) {
  node.write('/run/slow', String(seconds));
  node.write('/run/slow.log', '');
  const config = podConfig(node.machine, name);
  const answer = node.client.RunPodSandbox({ config });
  answer.catch(() => {});
  while (!node.read('/run/slow.log').includes('ADD')) await delay(20);
  return { config, answer };
}

async function took(work: Promise<unknown>): Promise<number> {
  const began = Date.now();
  await work;
  return Date.now() - began;
}

test('an orderly stop lets a call that ends soon end: its client gets the answer, the pod is there afterwards', async () => {
  const { answer } = await beginPod('soon', 2);
  const stopped = node.stop();
  const { podSandboxId } = await answer;
  assert.equal(await stopped, 0);
  await node.start();
  const { items } = await node.client.ListPodSandbox();
  assert.deepEqual(
    items.map(({ id }) => id),
    [podSandboxId],
  );
  await node.client.RemovePodSandbox({ podSandboxId });
  assert.deepEqual(await node.leaks(), []);
});

test('[D183] an orderly stop in the middle of a long creation ends within seconds; the next start undoes the pod', async () => {
  const { config, answer } = await beginPod('long', 600);
  assert.ok((await took(node.stop())) < 8000);
  await assert.rejects(answer);
  await node.start();
  assert.match(node.log(), /Stopping in the middle of making k8s_long_/);
  assert.deepEqual((await node.client.ListPodSandbox()).items, []);
  assert.match(node.read('/run/slow.log'), /DEL/);
  assert.deepEqual(await node.leaks(), []);
  node.write('/run/slow', '0');
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('a second signal ends the daemon at once', async () => {
  await beginPod('twice', 600);
  process.kill(node.daemonPid, 'SIGTERM');
  await delay(200);
  const began = Date.now();
  assert.equal(await node.stop(), 1);
  assert.ok(Date.now() - began < 2000);
  assert.equal(existsSync(node.path('/var/lib/crio/clean.shutdown')), false);
  await node.start();
  assert.deepEqual((await node.client.ListPodSandbox()).items, []);
  assert.deepEqual(await node.leaks(), []);
});

test('a container that is given an hour to stop does not hold up the stop of the daemon', async () => {
  node.write('/run/slow', '0');
  const deaf = ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'];
  const { podSandboxId, containerId } = await runPod(node.client, podConfig(node.machine, 'deaf'), containerConfig('c', BUSYBOX, deaf));
  const stop = node.client.StopContainer({ containerId, timeout: 3600n });
  stop.catch(() => {});
  await delay(300);
  assert.ok((await took(node.stop())) < 8000);
  await assert.rejects(stop);
  await node.start();
  assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
  await node.client.RemovePodSandbox({ podSandboxId }, { timeoutMs: 3000 });
  assert.deepEqual(await node.leaks(), []);
});
