import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { eventually } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { containerConfig, podConfig, settled, startPod, stateOf } from '../harness/pods.ts';

const JOURNALD = '/lib/systemd/systemd-journald';
const node = useNode({ images: ['busybox'], config: '[crio.runtime]\nlog_to_journald = true\n' });

test('[E82] with log_to_journald the lines of a container are in the journal beside its log', async (t) => {
  if (!existsSync(JOURNALD)) return t.skip(`no ${JOURNALD} on this machine`);
  const journald = node.machine.spawn([JOURNALD], 'ignore');
  await eventually('the journal listens', async () => existsSync(node.path('/run/systemd/journal/socket')));
  const script = 'echo to the output; echo to the errors >&2; printf "no end"';
  const config = containerConfig('c', BUSYBOX, ['sh', '-c', script]);
  const { podSandboxId, containerId } = await startPod(node.client, podConfig(node.machine, 'journal'), config, '');
  await settled(node.client, containerId);
  const entries = async () => {
    const query = ['journalctl', '--directory=/run/log/journal', '--output=json', `CONTAINER_ID_FULL=${containerId}`];
    const { stdout } = await node.exec(query, { mayFail: true });
    const lines = stdout.toString('utf8').split('\n').filter(Boolean);
    return lines.map((line) => JSON.parse(line) as Record<string, string>);
  };
  await eventually('all three lines are in the journal', async () => (await entries()).length === 3);
  const found = await entries();
  // conmon 2.1.6 leaves the end of the line in the message, and does not know priorities yet.
  const messages = found.map((entry) => `${entry['PRIORITY']} ${entry['MESSAGE']?.trimEnd()}`);
  assert.deepEqual(new Set(messages), new Set(['6 to the output', '3 to the errors', '6 no end']));
  const first = found.find((entry) => entry['MESSAGE']?.trimEnd() === 'to the output');
  assert.equal(first?.['CONTAINER_ID'], containerId.slice(0, 12));
  assert.match(first?.['CONTAINER_NAME'] ?? '', /^k8s_c_journal_default_/);
  assert.equal(found.find((entry) => entry['MESSAGE'] === 'no end')?.['CONTAINER_PARTIAL_MESSAGE'], 'true');
  assert.match(node.read((await stateOf(node.client, containerId)).logPath), /stdout F to the output\n/);
  await node.client.RemovePodSandbox({ podSandboxId });
  journald.kill('SIGKILL');
  await node.exec(['sh', '-c', 'kill -KILL $(pidof systemd-journald); rm -rf /run/log /run/systemd']);
});
