import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { afterEach, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { NamespaceMode } from '../../src/wire/index.ts';
import { refused } from '../harness/expect.ts';
import { BUSYBOX, NETWORK_FILES, TestNode } from '../harness/node.ts';
import { podConfig } from '../harness/pods.ts';

let node: TestNode;

/** A booted machine, with this more of crio.conf, on which no daemon runs yet. */
async function booted(config: string, options: { withoutNetwork?: boolean } = {}): Promise<void> {
  node = new TestNode({ images: ['busybox'], config, ...options });
  await node.boot();
}

afterEach(async () => await node.end());

test('[B8] a wrong type stops the start; the error names file, key, and what was expected', async () => {
  await booted('[crio.runtime]\npids_limit = "many"\n');
  const { code, stderr } = await node.startAndEnd();
  assert.notEqual(code, 0);
  assert.match(stderr, /50-test\.conf/);
  assert.match(stderr, /pids_limit/);
  assert.doesNotMatch(stderr, /\n\s+at /, 'an error for users has no stack');
});

test('an unknown key costs one warning with the nearest known name, and the daemon serves', async () => {
  await booted('[crio.runtime]\npids_limits = 5\n');
  await node.start();
  const lines = node
    .log()
    .split('\n')
    .filter((line) => line.includes('pids_limits'));
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /level=warning.*50-test\.conf.*pids_limit\b/);
});

test('a missing runtime binary stops the start; the error names the key and the path', async () => {
  await booted('[crio.runtime.runtimes.ghost]\nruntime_path = "/usr/bin/ghost"\n[crio.runtime]\ndefault_runtime = "ghost"\n');
  const { code, stderr } = await node.startAndEnd();
  assert.notEqual(code, 0);
  assert.match(stderr, /ghost/);
  assert.match(stderr, /\/usr\/bin\/ghost/);
});

test('a socket that another daemon serves stops the start; a stale one does not', async () => {
  await booted('');
  await node.start();
  const { code, stderr } = await node.startAndEnd();
  assert.notEqual(code, 0);
  assert.match(stderr, /crio\.sock/);
  const { runtimeName } = await node.client.Version();
  assert.equal(runtimeName, 'cri-o');
  await node.kill9();
  assert.ok(existsSync(node.path(node.socket)));
  await node.start();
  await node.client.Version();
});

test('[D212] Version', async () => {
  await booted('');
  await node.start();
  const answer = await node.client.Version();
  assert.equal(answer.version, '0.1.0');
  assert.equal(answer.runtimeName, 'cri-o');
  assert.match(answer.runtimeVersion, /^1\.37\.\d+/);
  assert.equal(answer.runtimeApiVersion, 'v1');
});

test('[D213 D215 D216 D217 D218] Status, RuntimeConfig and UpdateRuntimeConfig', async () => {
  await booted('');
  await node.start();
  const answer = await node.client.Status({ verbose: true });
  const conditions = answer.status?.conditions.map(({ type, status: holds }) => [type, holds]);
  assert.deepEqual(conditions, [
    ['RuntimeReady', true],
    ['NetworkReady', true],
  ]);
  const handlers = answer.runtimeHandlers.map(({ name }) => name).toSorted((a, b) => a.localeCompare(b));
  assert.deepEqual(
    handlers.filter((name) => ['', 'crun', 'runc'].includes(name)),
    ['', 'crun', 'runc'],
  );
  const config = JSON.parse(answer.info.get('config') ?? '{}') as { sandboxImage: string };
  assert.equal(config.sandboxImage, '127.0.0.1:5000/pause:latest');
  const { linux } = await node.client.RuntimeConfig();
  assert.equal(linux?.cgroupDriver, 1);
  await node.client.UpdateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr: '10.1.0.0/16' } } });
});

test('[D219 C67 B87] without enable_pod_events the stream of events ends at once, and no pod has a time', async () => {
  await booted('');
  await node.start();
  await node.registry();
  assert.deepEqual(await node.client.GetContainerEvents().toArray(), []);
  const { podSandboxId } = await node.client.RunPodSandbox({ config: podConfig(node.machine, 'p') });
  const { timestamp, containersStatuses } = await node.client.PodSandboxStatus({ podSandboxId });
  assert.deepEqual([timestamp, containersStatuses], [0n, []]);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D2] what is not implemented says so by its name', async () => {
  await booted('');
  await node.start();
  await assert.rejects(node.client.CheckpointContainer({ containerId: 'x' }), (error: { code: number; details: string }) => {
    assert.equal(error.code, status.UNIMPLEMENTED);
    assert.match(error.details, /CheckpointContainer/);
    return true;
  });
});

test('[D36 D213 D214] without a network configuration the node says so; pods wait for it, those on the host network do not', async () => {
  await booted('', { withoutNetwork: true });
  await node.start();
  const { status: before } = await node.client.Status();
  const network = before?.conditions.find(({ type }) => type === 'NetworkReady');
  assert.deepEqual([network?.status, network?.reason], [false, 'NetworkPluginNotReady']);
  assert.match(network?.message ?? '', /^Network plugin returns error: /);
  const onHost = podConfig(node.machine, 'on-host');
  const namespaceOptions = { network: NamespaceMode.NODE, ipc: NamespaceMode.POD, pid: NamespaceMode.CONTAINER };
  await node.registry();
  const host = await node.client.RunPodSandbox({
    config: { ...onHost, linux: { ...onHost.linux, securityContext: { namespaceOptions } } },
  });
  const config = podConfig(node.machine, 'waits');
  await refused(node.client.RunPodSandbox({ config }, { timeoutMs: 700 }), 'DEADLINE_EXCEEDED', /.*/);
  const waiting = node.client.RunPodSandbox({ config });
  for (const [file, text] of Object.entries(NETWORK_FILES)) node.write(file, text);
  const { podSandboxId } = await waiting;
  const { status: pod } = await node.client.PodSandboxStatus({ podSandboxId });
  assert.match(pod?.network?.ip ?? '', /^10\.85\./);
  for (const id of [podSandboxId, host.podSandboxId]) await node.client.RemovePodSandbox({ podSandboxId: id });
});

test('an orderly stop ends with exit code 0 within a second, and removes the socket', async () => {
  await booted('');
  await node.start();
  const began = Date.now();
  assert.equal(await node.stop(), 0);
  assert.ok(Date.now() - began < 1000);
  assert.ok(!existsSync(node.path(node.socket)));
});

test('the daemon answers Version while it starts a pod whose image it must pull', async () => {
  await booted('');
  await node.registry();
  await node.start();
  const pulls = Promise.all([
    node.client.PullImage({ image: { image: BUSYBOX } }),
    node.client.RunPodSandbox({ config: podConfig(node.machine, 'p') }),
  ]);
  const slowest = { ms: 0 };
  let over = false;
  void pulls.finally(() => (over = true));
  while (!over) {
    const began = performance.now();
    await node.client.Version();
    slowest.ms = Math.max(slowest.ms, performance.now() - began);
  }
  const [, { podSandboxId }] = await pulls;
  assert.ok(slowest.ms < 250, `a Version call took ${slowest.ms} ms`);
  await node.client.RemovePodSandbox({ podSandboxId });
});
