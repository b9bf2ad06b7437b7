import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as fc from 'fast-check';
import { parseMountInfo } from '../../src/linux/index.ts';
import { ContainerState, NamespaceMode } from '../../src/wire/index.ts';
import { only } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, runPod, stateOf, untilListening } from '../harness/pods.ts';
import { exitedSoon, processesOf, signal, soon } from '../harness/processes.ts';

const node = useNode({ images: ['busybox'] });
const STORE = '/var/lib/containers/storage/overlay-containers';

/** Makes a call whose client gives up after so many milliseconds, whatever has been done by then, and then makes it again. */
async function insisting<T>(call: (signal?: AbortSignal) => Promise<T>, giveUpMs: number): Promise<T> {
  const gone = new AbortController();
  const first = call(gone.signal).catch(() => undefined);
  await Promise.race([first, delay(giveUpMs)]);
  gone.abort();
  return await call();
}

for (const giveUpMs of [0, 5, 20, 60, 150, 400]) {
  test(`[D16 D18 D132 D136 D151 p04] every call may be repeated after its client gave up: after ${giveUpMs} ms`, async () => {
    const { client } = node;
    const config = podConfig(node.machine, 'insist');
    const { podSandboxId } = await insisting((gone) => client.RunPodSandbox({ config }, gone && { signal: gone }), giveUpMs);
    assert.equal(only((await client.ListPodSandbox()).items).id, podSandboxId);
    const request = { podSandboxId, config: containerConfig('c', BUSYBOX, OBEDIENT), sandboxConfig: config };
    const { containerId } = await insisting((gone) => client.CreateContainer(request, gone && { signal: gone }), giveUpMs);
    assert.equal(only((await client.ListContainers()).containers).id, containerId);
    await insisting((gone) => client.StartContainer({ containerId }, gone && { signal: gone }), giveUpMs);
    await insisting((gone) => client.StopContainer({ containerId, timeout: 2n }, gone && { signal: gone }), giveUpMs);
    assert.equal((await stateOf(client, containerId)).state, ContainerState.CONTAINER_EXITED);
    await insisting((gone) => client.RemoveContainer({ containerId }, gone && { signal: gone }), giveUpMs);
    assert.deepEqual((await client.ListContainers()).containers, []);
    await insisting((gone) => client.StopPodSandbox({ podSandboxId }, gone && { signal: gone }), giveUpMs);
    await insisting((gone) => client.RemovePodSandbox({ podSandboxId }, gone && { signal: gone }), giveUpMs);
    assert.deepEqual((await client.ListPodSandbox()).items, []);
  });
}

test('[p05] names and ids agree, in the lists and in the store, whatever is created, started, killed, removed, and when the daemon dies', async () => {
  const sandboxConfig = podConfig(node.machine, 'agree');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig });
  const requestOf = (name: string) => ({ podSandboxId, config: containerConfig(name, BUSYBOX, ['sleep', '1000']), sandboxConfig });
  const ids = new Map<string, string>();
  const actions = {
    create: async (name: string) => {
      const { containerId } = await node.client.CreateContainer(requestOf(name));
      assert.equal(containerId, ids.get(name) ?? containerId);
      ids.set(name, containerId);
    },
    start: async (name: string) => {
      const containerId = ids.get(name);
      if (containerId !== undefined && (await stateOf(node.client, containerId)).state === ContainerState.CONTAINER_CREATED)
        await node.client.StartContainer({ containerId });
    },
    kill: async (name: string) => {
      const containerId = ids.get(name);
      if (containerId === undefined || (await stateOf(node.client, containerId)).state !== ContainerState.CONTAINER_RUNNING) return;
      await signal(node, 'KILL', (await processesOf(node, containerId)).init);
      await exitedSoon(node, containerId, 20_000);
    },
    remove: async (name: string) => {
      const containerId = ids.get(name);
      if (containerId === undefined) return;
      await node.client.StopContainer({ containerId, timeout: 0n });
      await node.client.RemoveContainer({ containerId });
      ids.delete(name);
    },
    /** The daemon dies while it makes a container: there is one of that name afterwards, or none. */
    die: async (name: string) => {
      const torn = node.client.CreateContainer(requestOf(name)).catch(() => undefined);
      await delay(60);
      await node.kill9();
      await torn;
      await node.start();
      const found = (await node.client.ListContainers()).containers.filter(({ metadata }) => metadata?.name === name);
      if (found.length > 0) ids.set(name, only(found).id);
    },
  };
  const step = fc.tuple(fc.constantFrom('create', 'create', 'start', 'kill', 'remove', 'die'), fc.constantFrom('a', 'b'));
  const agree = async () => {
    const { containers } = await node.client.ListContainers();
    assert.deepEqual(new Map(containers.map(({ id, metadata }) => [metadata?.name ?? '', id])), new Map([...ids].reverse()));
    assert.equal(containers.length, ids.size);
    const records = JSON.parse(node.read(join(STORE, 'volatile-containers.json'))) as { id: string; names: string[] }[];
    const stored = records.filter(({ id }) => id !== podSandboxId).map(({ id, names }) => [names[0]?.split('_')[1], id]);
    assert.deepEqual(new Map(stored as [string, string][]), ids);
    for (const [name, containerId] of ids) assert.equal((await stateOf(node.client, containerId)).metadata?.name, name);
  };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 14 }), async (steps) => {
      for (const [action, name] of steps) {
        await actions[action](name);
        await agree();
      }
    }),
    { numRuns: 2, endOnFailure: true },
  );
  for (const containerId of ids.values()) await node.client.StopContainer({ containerId, timeout: 0n });
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[p12] a container that obeys is replaced without waiting for its grace period', async () => {
  const sandboxConfig = podConfig(node.machine, 'restarts');
  const { podSandboxId, containerId } = await runPod(node.client, sandboxConfig, containerConfig('c', BUSYBOX, OBEDIENT));
  let current = containerId;
  for (let attempt = 1; attempt <= 3; attempt++) {
    const began = Date.now();
    await node.client.StopContainer({ containerId: current, timeout: 30n });
    const config = { ...containerConfig('c', BUSYBOX, OBEDIENT), metadata: { name: 'c', attempt } };
    current = (await node.client.CreateContainer({ podSandboxId, config, sandboxConfig })).containerId;
    await node.client.StartContainer({ containerId: current });
    assert.ok(Date.now() - began < 10_000, `the restart took ${Date.now() - began} ms`);
    await untilListening(node.client, current);
  }
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[p13] hundreds of exec probes, some of which never end, leave no zombie and no process', async () => {
  const { podSandboxId, containerId } = await runPod(
    node.client,
    podConfig(node.machine, 'probed'),
    containerConfig('c', BUSYBOX, OBEDIENT),
  );
  const processes = async () =>
    (await node.machine.exec(['ps', '-eo', 'pid=,ppid=,stat=,args='])).stdout
      .toString('utf8')
      .trim()
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => !/ ps -eo /.test(line));
  const before = new Set(await processes());
  const added = async () => (await processes()).filter((line) => !before.has(line) && !/ Z?\S* sleep 1000000$/.test(line));
  const probe = async (n: number) => {
    const cmd = n % 10 === 0 ? ['sh', '-c', 'sleep 1000 & sleep 1000'] : ['sh', '-c', `exit ${n % 7}`];
    const { exitCode } = await node.client.ExecSync(
      { containerId, cmd, timeout: 1n + BigInt(n % 10 === 0 ? 0 : 60) },
      { timeoutMs: 120_000 },
    );
    assert.equal(exitCode, n % 10 === 0 ? -1 : n % 7);
  };
  for (let from = 0; from < 300; from += 20) await Promise.all(Array.from({ length: 20 }, async (_, n) => await probe(from + n)));
  await soon('all of them have gone', async () => (await added()).length === 0, 10_000).catch(async () =>
    assert.deepEqual(await added(), []),
  );
  await node.client.RemovePodSandbox({ podSandboxId });
});

for (const runtimeHandler of ['runc', 'crun']) {
  for (const [where, pid] of [
    ['of the pod', NamespaceMode.POD],
    ['of the node', NamespaceMode.NODE],
  ] as const) {
    test(`[D145 D171] ${runtimeHandler}: what a container leaves behind in the processes ${where}, and execs in it, end with it`, async () => {
      const namespaceOptions = { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid };
      const shared = <T extends PodInput['linux']>(linux: T) => ({ ...linux, securityContext: { namespaceOptions } });
      const base = podConfig(node.machine, 'shared');
      const config = { ...base, linux: shared(base.linux) };
      const container = containerConfig('c', BUSYBOX, ['sh', '-c', 'sleep 7654 & trap "exit 0" TERM; while :; do sleep 0.1; done']);
      const { podSandboxId, containerId } = await runPod(
        node.client,
        config,
        { ...container, linux: { ...container.linux, securityContext: { namespaceOptions } } },
        runtimeHandler,
      );
      const exec = node.client.ExecSync({ containerId, cmd: ['sleep', '7654'], timeout: 0n }, { timeoutMs: 60_000 });
      const sleepers = async () =>
        (await node.machine.exec(['sh', '-c', 'grep -lsa "^sleep.7654" /proc/[0-9]*/cmdline || true'])).stdout
          .toString('utf8')
          .trim()
          .split('\n')
          .filter(Boolean);
      await soon('both sleep', async () => (await sleepers()).length === 2, 20_000);
      await node.client.StopContainer({ containerId, timeout: 20n });
      assert.equal((await exec).exitCode, 137);
      await soon('nobody sleeps any more', async () => (await sleepers()).length === 0);
      await node.client.RemovePodSandbox({ podSandboxId });
    });
  }
}

test('[D149] after its end a container’s root is not mounted any more, and its state is on disk', async () => {
  const { podSandboxId, containerId } = await runPod(node.client, podConfig(node.machine, 'tidy'), containerConfig('c', BUSYBOX, OBEDIENT));
  const { root } = JSON.parse(node.read(join(STORE, containerId, 'userdata/config.json'))) as { root: { path: string } };
  const isMounted = () =>
    parseMountInfo(readFileSync(`/proc/${node.machine.init}/mountinfo`, 'utf8')).some(({ mountPoint }) => mountPoint === root.path);
  assert.ok(isMounted());
  await node.client.StopContainer({ containerId, timeout: 20n });
  assert.ok(!isMounted());
  const state = JSON.parse(node.read(join(STORE, containerId, 'userdata/state.json'))) as { status: string; exitCode: number };
  assert.deepEqual([state.status, state.exitCode], ['stopped', 0]);
  await node.client.RemovePodSandbox({ podSandboxId });
});
