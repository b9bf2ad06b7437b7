import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { containerConfig, podConfig, runPod, stateOf } from '../harness/pods.ts';
import { limit, processesOf, soon } from '../harness/processes.ts';

const node = useNode({ images: ['busybox'] });

test('[D144 D142 E14] what no signal kills is reported after a minute with its state, and is gone as soon as it can be', async (t) => {
  // A write to a frozen file system waits where no signal reaches it.
  const made = await node.exec(['sh', '-c', MAKE], { mayFail: true });
  if (made.code !== 0) return t.skip(`no file system that can be frozen here: ${made.stderr.trim()}`);
  let thawed = false;
  const thaw = async () => {
    if (!thawed) await node.exec(['fsfreeze', '-u', '/run/frozen']);
    thawed = true;
  };
  try {
    const config = containerConfig('c', BUSYBOX, ['sh', '-c', 'while :; do echo x >> /data/file; done'], {
      mounts: [{ hostPath: '/run/frozen', containerPath: '/data' }],
    });
    const { podSandboxId, containerId } = await runPod(node.client, podConfig(node.machine, 'unkillable'), config);
    const { init } = await processesOf(node, containerId);
    await soon('it writes', async () => (await node.exec(['test', '-s', '/run/frozen/file'], { mayFail: true })).code === 0);
    await node.exec(['fsfreeze', '-f', '/run/frozen']);
    const state = async () => (await node.exec(['cat', `/proc/${init}/stat`])).stdout.toString('utf8').split(') ')[1]?.[0];
    await soon('it waits for the disk', async () => (await state()) === 'D');
    const stop = node.client.StopContainer({ containerId, timeout: 1n }, { timeoutMs: 120_000 });
    const report = new RegExp(
      `level=error msg="Container ${containerId} cannot be killed: its process ${init} is in state D \\(uninterruptible sleep\\)"`,
    );
    const took = await soon('the report', () => report.test(node.log()), 90_000);
    assert.ok(took > 55_000, `reported after ${took} ms`);
    assert.match(node.log(), new RegExp(`Stopping container ${containerId} with stop signal\\(15\\) timed out. Killing...`));
    const inner = 'command error: cannot start exec: container is being killed, stdout: , stderr: , exit code -1';
    await refused(node.client.ExecSync({ containerId, cmd: ['true'], timeout: 5n }), 'UNKNOWN', inner);
    const began = Date.now();
    await thaw();
    await stop;
    assert.ok(Date.now() - began < limit(5000), 'it was killed while it waited, so it dies when it can, and that is an event');
    assert.equal((await stateOf(node.client, containerId)).exitCode, 137);
    await node.client.RemovePodSandbox({ podSandboxId });
  } finally {
    await thaw();
    await node.exec(['sh', '-c', 'umount /run/frozen; rm -rf /run/frozen /run/frozen.img']);
  }
});

const MAKE = `set -e
mkdir -p /run/frozen
truncate -s 16M /run/frozen.img
mke2fs -q -t ext4 /run/frozen.img
mount -o loop /run/frozen.img /run/frozen
fsfreeze -f /run/frozen
fsfreeze -u /run/frozen`;
