import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, settled, startPod, stateOf } from '../harness/pods.ts';

const config = `[crio.runtime]
log_size_max = 8192
[crio.runtime.runtimes.careless]
runtime_path = "/usr/sbin/runc"
runtime_root = "/run/careless"
no_sync_log = true
`;
const node = useNode({ images: ['busybox'], config });

test('[E77 E80] long lines come in parts; a log that would pass its size begins anew', async () => {
  const pod = podConfig(node.machine, 'parts');
  const script = 'head -c 20000 /dev/zero | tr "\\0" x; echo end; printf tail';
  const { podSandboxId, containerId } = await startPod(node.client, pod, containerConfig('c', BUSYBOX, ['sh', '-c', script]), '');
  await settled(node.client, containerId);
  const { logPath } = await stateOf(node.client, containerId);
  const text = readFileSync(node.path(logPath), 'utf8');
  assert.ok(text.length <= 8192 + 64, 'the limit holds');
  assert.match(text, /^\S+ stdout P tail\n$/m);
  await node.client.RemovePodSandbox({ podSandboxId });
});

for (const handler of ['runc', 'careless']) {
  test(`[E81] what a container wrote last is in its log once it counts as exited (${handler})`, async () => {
    const { client, machine } = node;
    for (let round = 0; round < 2; round++) {
      const script = `i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); done; printf "the end"`;
      const config = containerConfig('c', BUSYBOX, ['sh', '-c', script]);
      const { podSandboxId, containerId } = await startPod(client, podConfig(machine, `drained-${handler}-${round}`), config, handler);
      await settled(client, containerId);
      const lines = readFileSync(node.path((await stateOf(client, containerId)).logPath), 'utf8')
        .trim()
        .split('\n');
      assert.match(lines.at(-1) ?? '', / stdout P the end$/);
      assert.equal(lines.length, 41);
      await client.RemovePodSandbox({ podSandboxId });
    }
  });
}

test('[E84 E85] a log of nobody, and of one that has ended, cannot be opened anew', async () => {
  const containerId = 'a'.repeat(64);
  const text = `could not find container "${containerId}": container with ID starting with ${containerId} not found: ID does not exist`;
  await refused(node.client.ReopenContainerLog({ containerId }), 'NOT_FOUND', text);
  const ended = await runPod(node.client, podConfig(node.machine, 'ended'), containerConfig('c', BUSYBOX, OBEDIENT));
  await node.client.StopContainer({ containerId: ended.containerId, timeout: 5n });
  await refused(node.client.ReopenContainerLog({ containerId: ended.containerId }), 'FAILED_PRECONDITION', 'container is not running');
  await node.client.RemovePodSandbox({ podSandboxId: ended.podSandboxId });
});
