import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { containerConfig, podConfig, settled } from '../harness/pods.ts';

const node = useNode({
  images: ['busybox'],
  config: '[crio.runtime.runtimes.runc]\nallowed_annotations = ["link-logs.crio.io"]\n',
});

/** A pod that asks for its logs in the volume; the kubelet's directories are there. */
async function run(
  volume: string,
  change: { uid?: string } = {},
): Promise<{ podSandboxId: string; config: ReturnType<typeof podConfig>; dir: string }> {
  const config = podConfig(node.machine, 'linked', { annotations: new Map([['link-logs.crio.io', volume]]) });
  const uid = config.metadata?.uid ?? '';
  const dir = `/var/lib/kubelet/pods/${uid}/volumes/kubernetes.io~empty-dir/logs`;
  mkdirSync(node.path(dir), { recursive: true });
  const metadata = { ...config.metadata, ...change };
  const { podSandboxId } = await node.client.RunPodSandbox({ config: { ...config, metadata } });
  return { podSandboxId, config: { ...config, metadata }, dir };
}

test("[E90 E92 E93 E94 P17] a pod finds its own logs in the volume that it names, by its containers' ids, and cannot write there", async () => {
  const { podSandboxId, config, dir } = await run('logs');
  const mounts = [{ hostPath: dir, containerPath: '/logs' }];
  const script = 'echo line; touch /logs/mine 2>/dev/null && echo written; sleep 0.2; cat /logs/*.log';
  const container = { ...containerConfig('c', BUSYBOX, ['sh', '-c', script], { mounts }), logPath: 'c/0.log' };
  const { containerId } = await node.client.CreateContainer({ podSandboxId, config: container, sandboxConfig: config });
  await node.client.StartContainer({ containerId });
  await settled(node.client, containerId);
  const logs = node.path(config.logDirectory ?? '');
  assert.equal(readlinkSync(`${logs}/${containerId}.log`), 'c/0.log');
  const text = readFileSync(`${logs}/c/0.log`, 'utf8');
  assert.match(text, / stdout F line\n/);
  assert.match(text, /stdout F \S+ stdout F line/, 'the log is seen from inside');
  assert.doesNotMatch(text, /written/);
  await node.client.StopPodSandbox({ podSandboxId });
  assert.deepEqual(readdirSync(node.path(dir)), []);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[E91 a27] names that lead elsewhere link nothing, and the pod runs', async () => {
  for (const volume of ['../logs', '.', 'a/b', '', 'UPPER', 'x'.repeat(64)]) {
    const { podSandboxId, dir } = await run(volume);
    assert.deepEqual(readdirSync(node.path(dir)), []);
    await node.client.RemovePodSandbox({ podSandboxId });
  }
  const before = node.log().length;
  const { podSandboxId } = await run('logs', { uid: '../../../../etc' });
  assert.match(node.log().slice(before), /Failed to link logs: pod UID .* is no name of a directory/);
  await node.client.RemovePodSandbox({ podSandboxId });
  const { stdout } = await node.exec(['cat', '/proc/self/mountinfo']);
  assert.doesNotMatch(stdout.toString('utf8'), /empty-dir/);
});
