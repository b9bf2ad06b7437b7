import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { processStat } from '../../src/linux/index.ts';
import { ContainerState, PodSandboxState } from '../../src/wire/index.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, settled, stateOf } from '../harness/pods.ts';

const node = useNode({ images: ['busybox'] });
/** Writes a line every tenth of a second, and ends with 5 when it is told to. */
const TICK = ['sh', '-c', 'trap "exit 5" TERM; n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.1; done'];

async function initOf(containerId: string): Promise<{ pid: number; startTime: string | undefined }> {
  const { info } = await node.client.ContainerStatus({ containerId, verbose: true });
  const { pid } = JSON.parse(info.get('info') ?? '{}') as { pid: number };
  const { stdout } = await node.machine.exec(['cat', `/proc/${pid}/stat`]);
  return { pid, startTime: stdout.toString('utf8').split(' ').at(21) };
}

for (const [how, end] of [
  ['kill -9', () => node.kill9()],
  ['an orderly stop', () => node.stop()],
] as const) {
  test(`[D178 D179 D180 D185 D186 D187] ${how}: pods and containers run on, and are all there afterwards`, async () => {
    const config = podConfig(node.machine, 'survivor', { labels: new Map([['app', 'x']]), annotations: new Map([['a', 'b']]) });
    const container = containerConfig('c', BUSYBOX, TICK, { labels: new Map([['l', 'm']]) });
    const { podSandboxId, containerId } = await runPod(node.client, config, container);
    const view = async () => ({
      pods: await node.client.ListPodSandbox(),
      pod: (await node.client.PodSandboxStatus({ podSandboxId })).status,
      containers: await node.client.ListContainers(),
      container: await stateOf(node.client, containerId),
      images: await node.client.ListImages(),
      init: await initOf(containerId),
    });
    const before = await view();
    assert.equal(before.pod?.state, PodSandboxState.SANDBOX_READY);
    assert.match(before.pod?.network?.ip ?? '', /^10\.85\./);
    await end();
    const log = join(config.logDirectory ?? '', 'c.log');
    const lines = node.read(log).length;
    await delay(500);
    assert.ok(node.read(log).length > lines, 'the container kept writing its log while the daemon was away');
    await node.start();
    assert.deepEqual(await view(), before);
    const { stdout } = await node.client.ExecSync({ containerId, cmd: ['echo', 'here'], timeout: 10n });
    assert.equal(Buffer.from(stdout).toString('utf8'), 'here\n');
    const second = await node.client.CreateContainer({
      podSandboxId,
      config: containerConfig('d', BUSYBOX, ['true']),
      sandboxConfig: config,
    });
    await node.client.StartContainer({ containerId: second.containerId });
    assert.equal((await settled(node.client, second.containerId)).exitCode, 0);
    await node.client.StopContainer({ containerId, timeout: 10n });
    assert.equal((await stateOf(node.client, containerId)).exitCode, 5);
    await node.client.StopPodSandbox({ podSandboxId });
    await node.client.RemovePodSandbox({ podSandboxId });
  });
}

test('[D167 D168 D169 D173] a container that ends while the daemon is away has its exit code and its time', async () => {
  const config = podConfig(node.machine, 'ended');
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, ['sh', '-c', 'sleep 1; exit 9']));
  const { pid } = await initOf(containerId);
  await node.kill9();
  while ((await node.machine.exec(['test', '-e', `/proc/${pid}`], { mayFail: true })).code === 0) await delay(50);
  const ended = Date.now();
  await delay(300);
  await node.start();
  const status = await stateOf(node.client, containerId);
  assert.deepEqual([status.state, status.exitCode, status.reason], [ContainerState.CONTAINER_EXITED, 9, 'Error']);
  assert.ok(Math.abs(Number(status.finishedAt / 1_000_000n) - ended) < 300, 'the time is that of the exit, not of the start');
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D167] after a power cut nobody waits for monitors that are no more: the start takes no seconds for each container', async () => {
  const sandboxConfig = podConfig(node.machine, 'cut');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig });
  const ids: string[] = [];
  for (const name of ['a', 'b', 'c']) {
    const config = containerConfig(name, BUSYBOX, ['sleep', '1000']);
    const { containerId } = await node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
    await node.client.StartContainer({ containerId });
    ids.push(containerId);
  }
  const inits = await Promise.all(ids.map(initOf));
  await node.kill9();
  await node.machine.exec(['pkill', '-KILL', 'conmon']);
  await node.machine.exec(['kill', '-KILL', ...inits.map(({ pid }) => String(pid))]);
  const began = Date.now();
  await node.start();
  assert.ok(Date.now() - began < 4000, `the start took ${Date.now() - began} ms`);
  for (const containerId of ids) assert.equal((await stateOf(node.client, containerId)).exitCode, 255);
  await node.client.StopPodSandbox({ podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D101 D180] a stopped pod is still stopped, a created container is still created and starts', async () => {
  const stopped = (await node.client.RunPodSandbox({ config: podConfig(node.machine, 'stopped') })).podSandboxId;
  await node.client.StopPodSandbox({ podSandboxId: stopped });
  const sandboxConfig = podConfig(node.machine, 'created');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig });
  const { containerId } = await node.client.CreateContainer({
    podSandboxId,
    config: containerConfig('c', BUSYBOX, ['sh', '-c', 'exit 4']),
    sandboxConfig,
  });
  await node.kill9();
  await node.start();
  assert.equal((await node.client.PodSandboxStatus({ podSandboxId: stopped })).status?.state, PodSandboxState.SANDBOX_NOTREADY);
  assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_CREATED);
  await node.client.StartContainer({ containerId });
  assert.equal((await settled(node.client, containerId)).exitCode, 4);
  for (const id of [stopped, podSandboxId]) await node.client.RemovePodSandbox({ podSandboxId: id });
});

test('names stay taken after a restart: a repeated RunPodSandbox answers the pod that is there', async () => {
  const config = podConfig(node.machine, 'name');
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  await node.kill9();
  await node.start();
  assert.equal((await node.client.RunPodSandbox({ config })).podSandboxId, podSandboxId);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D183] kill -9 in the middle of work: what is listed afterwards works or goes, and nothing else is left', async () => {
  for (let round = 0; round < 5; round++) {
    const work = Array.from({ length: 4 }, (_, n) =>
      runPod(node.client, podConfig(node.machine, `torn-${round}-${n}`), containerConfig('c', BUSYBOX, OBEDIENT)),
    );
    const settledWork = Promise.allSettled(work);
    await delay(60 + round * 80);
    await node.kill9();
    await settledWork;
    await node.start();
    for (const { id, state } of (await node.client.ListContainers()).containers) {
      if (state === ContainerState.CONTAINER_RUNNING) await node.client.ExecSync({ containerId: id, cmd: ['true'], timeout: 10n });
    }
    for (const { id } of (await node.client.ListPodSandbox()).items) {
      await node.client.StopPodSandbox({ podSandboxId: id }, { timeoutMs: 5000 });
      await node.client.RemovePodSandbox({ podSandboxId: id });
    }
  }
});

test('the daemon that was killed left no process but the containers and their monitors', async () => {
  const config = podConfig(node.machine, 'only');
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, ['sleep', '1000']));
  const { pid } = await initOf(containerId);
  const daemon = node.daemonPid;
  await node.kill9();
  assert.ok(processStat(daemon) === undefined || processStat(daemon)?.state === 'Z');
  const { stdout } = await node.machine.exec(['ps', '-eo', 'pid=,comm=']);
  const running = stdout
    .toString('utf8')
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const names = running
    .filter(([, comm]) => !['tini', 'cat', 'ps', 'docker-registry'].includes(comm ?? ''))
    .map(([own, comm]) => (Number(own) === pid ? 'the container' : comm));
  assert.deepEqual(
    names.toSorted((a = '', b = '') => a.localeCompare(b)),
    ['conmon', 'the container'],
  );
  await node.start();
  await node.client.RemovePodSandbox({ podSandboxId }, { timeoutMs: 3000 });
});
