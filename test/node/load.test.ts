import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { memoryOf } from '../../bench/processes.ts';
import { ContainerState } from '../../src/wire/index.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, startPod } from '../harness/pods.ts';
import { multiplyContainer } from '../harness/stored-copies.ts';

const PODS = 110;
const AT_ONCE = 16;
const ROUNDS = 5;
/** A kubelet gives up a request after four minutes. */
const KUBELET_MS = 4 * 60_000;

const node = useNode({ images: ['busybox'] });

/** Works off the list, so many at a time; the answer of each in its place. */
async function atOnce<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const waiting = items.entries();
  const worker = async () => {
    for (const [at, item] of waiting) results[at] = await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}

/** What the daemon holds of the kernel: descriptors, threads, inotify watches. */
function holdings() {
  const proc = `/proc/${node.daemonPid}`;
  return { descriptors: readdirSync(`${proc}/fd`).length, threads: readdirSync(`${proc}/task`).length };
}

async function round(name: string): Promise<number> {
  let longest = 0;
  const timed = async <T>(call: Promise<T>): Promise<T> => {
    const began = performance.now();
    const answer = await call;
    longest = Math.max(longest, performance.now() - began);
    return answer;
  };
  const names = Array.from({ length: PODS }, (_, n) => `${name}-${n}`);
  const options = { timeoutMs: KUBELET_MS };
  const pods = await atOnce(names, async (pod) => {
    const config = podConfig(node.machine, pod);
    return await timed(startPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT), 'crun'));
  });
  const { containers } = await node.client.ListContainers({ filter: { state: { state: ContainerState.CONTAINER_RUNNING } } });
  assert.equal(containers.length, PODS);
  const { items } = await node.client.ListPodSandbox();
  const addresses = new Set<string>();
  for (const { id } of items) addresses.add((await node.client.PodSandboxStatus({ podSandboxId: id })).status?.network?.ip ?? '');
  assert.equal(addresses.size, PODS, 'each pod has an address of its own');
  await atOnce(pods, async ({ podSandboxId, containerId }) => {
    await timed(node.client.StopContainer({ containerId, timeout: 2n }, options));
    await timed(node.client.StopPodSandbox({ podSandboxId }, options));
    await timed(node.client.RemovePodSandbox({ podSandboxId }, options));
  });
  return longest;
}

test(`[p36 p43] ${PODS} pods, ${AT_ONCE} at a time, ${ROUNDS} times over: all answered in time, nothing left, memory back where it was`, async () => {
  const holds: (ReturnType<typeof holdings> & { readonly anonymous: number })[] = [];
  for (let n = 1; n <= ROUNDS; n++) {
    const longest = await round(`round${n}`);
    assert.ok(longest < KUBELET_MS, `a pod took ${Math.round(longest)} ms`);
    assert.deepEqual(await node.leaks(), []);
    holds.push({ ...holdings(), anonymous: memoryOf(node.daemonPid).anonymous });
  }
  const [before, after] = [holds[0], holds.at(-1)]; // The first round warms up.
  assert.ok(before !== undefined && after !== undefined);
  // What is kept of each pod is kept in every round; the heap has its own times to grow and to shrink.
  const sizes = holds.map(({ anonymous }) => anonymous / 2 ** 20);
  const grown = Math.min(...sizes.slice(-2)) - Math.max(...sizes.slice(0, 2));
  assert.ok(after.descriptors <= before.descriptors + 2, `descriptors: ${before.descriptors} before, ${after.descriptors} after`);
  assert.ok(after.threads <= before.threads + 2, `threads: ${before.threads} before, ${after.threads} after`);
  assert.ok(grown < 8, `the daemon's own memory in MiB after each round: ${sizes.map((size) => size.toFixed(1)).join(', ')}`);
});

test('1,000 stopped containers are restored, and listed quickly, whole and filtered', async () => {
  const sandboxConfig = podConfig(node.machine, 'crowd');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig, runtimeHandler: 'crun' });
  const config = containerConfig('crowded', BUSYBOX, ['true'], { labels: new Map([['n', 'crowded']]) });
  const { containerId } = await node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
  await node.client.StopContainer({ containerId, timeout: 0n });
  await node.stop();
  const ids = multiplyContainer(node, 'crowded', 999);
  await node.start();
  const { client } = node;
  const { containers } = await client.ListContainers();
  assert.deepEqual(new Set(containers.map(({ id }) => id)), new Set([containerId, ...ids]));
  const one = await client.ListContainers({ filter: { labelSelector: new Map([['n', 'crowded-777']]) } });
  assert.deepEqual(
    one.containers.map(({ id }) => id),
    [ids[777]],
  );
  // Against a call that does nothing, on the same connection: a list costs a bounded multiple of it, however busy the machine is.
  const list = await median(() => client.ListContainers());
  const nothing = await median(() => client.Version());
  assert.ok(list < nothing * 60, `a list takes ${list.toFixed(1)} ms, a call that does nothing ${nothing.toFixed(1)} ms`);
  await client.RemovePodSandbox({ podSandboxId }, { timeoutMs: KUBELET_MS });
});

async function median(call: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < 21; n++) {
    const began = performance.now();
    await call();
    times.push(performance.now() - began);
  }
  return times.toSorted((a, b) => a - b)[10] ?? 0;
}
