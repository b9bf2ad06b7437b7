import assert from 'node:assert/strict';
import { readFileSync, renameSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, settled, stateOf } from '../harness/pods.ts';

const node = useNode({ images: ['busybox'] });
const MIB = 1024n * 1024n;

for (const handler of ['runc', 'crun']) {
  test(`[D191 D195 D197] ${handler}: new limits hold in the cgroup and stand in the status`, async () => {
    const config = podConfig(node.machine, `update-${handler}`);
    const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT), handler);
    await node.client.UpdateContainerResources({ containerId, linux: { cpuShares: 512n, memoryLimitInBytes: 64n * MIB } });
    const { resources } = await stateOf(node.client, containerId);
    assert.equal(resources?.linux?.cpuShares, 512n);
    assert.equal(resources?.linux?.memoryLimitInBytes, 64n * MIB);
    const inside = async (file: string) =>
      Buffer.from((await node.client.ExecSync({ containerId, cmd: ['sh', '-c', `cat /sys/fs/cgroup/${file}`] })).stdout)
        .toString('utf8')
        .trim();
    assert.equal(await inside('memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max'), String(64n * MIB));
    await node.client.RemovePodSandbox({ podSandboxId }, { timeoutMs: 4000 });
  });
}

test('[D190 D191 D194 D198] updates that cannot be are refused', async () => {
  const config = podConfig(node.machine, 'refusals');
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
  const update = (memoryLimitInBytes: bigint) => node.client.UpdateContainerResources({ containerId, linux: { memoryLimitInBytes } });
  await refused(update(-1n), 'INVALID_ARGUMENT', /^memory validation failed: invalid memory limit: -1 bytes \(cannot be negative\)/);
  await refused(
    update(1n),
    'FAILED_PRECONDITION',
    /^memory validation failed: cannot decrease memory limit to 1 bytes: current usage is \d+ bytes/,
  );
  await node.client.UpdateContainerResources({ containerId });
  await node.client.UpdatePodSandboxResources({ podSandboxId });
  await refused(node.client.UpdatePodSandboxResources({ podSandboxId: 'nope' }), 'NOT_FOUND', /^could not find pod "nope"/);
  await node.client.StopContainer({ containerId, timeout: 1n });
  await settled(node.client, containerId);
  await refused(update(64n * MIB), 'FAILED_PRECONDITION', /is not running or created state: stopped/);
  await refused(node.client.ReopenContainerLog({ containerId }), 'FAILED_PRECONDITION', /container is not running/);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[E85 E86 E88] a log that is rotated under load loses no line and doubles none', async () => {
  const config = podConfig(node.machine, 'rotate');
  const lines = 20_000;
  const count = ['sh', '-c', `i=0; while [ $i -lt ${lines} ]; do echo $i; i=$((i+1)); done`];
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, count));
  const log = node.machine.path((await stateOf(node.client, containerId)).logPath);
  const files: string[] = [];
  for (let n = 0; n < 5; n++) {
    renameSync(log, `${log}.${n}`);
    files.push(`${log}.${n}`);
    try {
      await node.client.ReopenContainerLog({ containerId });
    } catch (error) {
      assert.match(String(error), /container is not running/); // It was quicker than the rotations.
      break;
    }
    await delay(20);
  }
  await settled(node.client, containerId);
  const texts = [...files, log].map((file) => readFileSync(file, { encoding: 'utf8', flag: 'a+' }));
  // `P` is the beginning of a line that conmon read in two pieces.
  const text = texts
    .join('')
    .replaceAll(/^\S+ stdout ([PF]) (.*)\n/gm, (_, tag: string, piece: string) => (tag === 'P' ? piece : `${piece}\n`));
  const numbers = text.trimEnd().split('\n').map(Number);
  assert.deepEqual(
    numbers,
    Array.from({ length: lines }, (_, i) => i),
  );
  await node.client.RemovePodSandbox({ podSandboxId });
});
