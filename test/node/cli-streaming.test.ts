import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync, renameSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, startPod } from '../harness/pods.ts';
import { crioProgram } from '../harness/tools.ts';

const node = useNode({ images: ['busybox'] }, async ({ client, machine }) => {
  await runPod(client, podConfig(machine, 'web'), containerConfig('main', BUSYBOX, OBEDIENT));
});

/** Runs a script on a terminal of its own, as a person at one would; what the terminal showed, and the exit code. */
async function onTerminal(script: string): Promise<{ shown: string; code: number | null }> {
  const { stdout, code } = await node.exec(['script', '-qec', `sh -c '${script}'`, '/dev/null'], { mayFail: true });
  return { shown: stdout.toString('utf8'), code };
}

test('crio exec passes streams on as they come, and ends with the exit code', async () => {
  const { stdout, stderr, code } = await node.crio(['exec', '-i', 'web', 'sh', '-c', 'cat; echo err >&2; exit 42'], {
    stdin: 'in\n',
    mayFail: true,
  });
  assert.deepEqual([stdout.toString('utf8'), stderr, code], ['in\n', 'err\n', 42]);
  const missing = await node.crio(['exec', 'web', '/no/such'], { mayFail: true });
  assert.notEqual(missing.code, 0);
  assert.match(missing.stderr, /no such file/);
  const usage = await node.crio(['exec', '-i', '--timeout', '3', 'web', 'cat'], { mayFail: true });
  assert.match(usage.stderr, /--timeout goes with neither -i nor -t/);
});

test('crio exec -it: a window onto the terminal in the container, of our size; ours is as it was afterwards', async () => {
  const { shown, code } = await onTerminal(
    `stty rows 33 cols 99; ${crioProgram} exec -it web sh -c "tty; stty size; exit 4"; echo "code $?"; stty -a`,
  );
  assert.equal(code, 0);
  assert.match(shown, /\/dev\/(pts\/\d+|console)\s+33 99\s+code 4/);
  assert.match(shown, /[^-]icanon/);
  assert.match(shown, /[^-]echo /);
});

test('a terminal is given back when crio exec -it is ended by a signal, and the command ends with it', async () => {
  const script = `${crioProgram} exec -it web sh -c "echo on; sleep 8888" & pid=$!; while ! ps -e -o args | grep -q "^sleep 8888"; do sleep 0.1; done; kill -TERM $pid; wait $pid; echo "code $?"; stty -a`;
  const { shown } = await onTerminal(script);
  assert.match(shown, /code 143/);
  assert.match(shown, /[^-]icanon/);
  for (;;) {
    const { stdout } = await node.crio(['exec', 'web', 'ps', '-o', 'args']);
    if (!stdout.toString('utf8').includes('8888')) break;
  }
});

test('crio attach shows what comes, and passes input on', async () => {
  const config = containerConfig('echo', BUSYBOX, ['sh', '-c', 'while read line; do echo "heard $line"; done'], {
    stdin: true,
    stdinOnce: true,
  });
  const { podSandboxId } = await startPod(node.client, podConfig(node.machine, 'echo'), config, '');
  const { stdout, code } = await node.crio(['attach', '-i', 'echo'], { stdin: 'one\ntwo\n' });
  assert.deepEqual([stdout.toString('utf8'), code], ['heard one\nheard two\n', 0]);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('crio port-forward: a local port for one of the pod, until it is interrupted', async () => {
  const config = containerConfig('c', BUSYBOX, ['nc', '-l', '-p', '80', '-e', 'echo', 'from the pod']);
  const { podSandboxId, containerId } = await startPod(node.client, podConfig(node.machine, 'ports'), config, '');
  const script = 'until netstat -ltn | grep -q ":80 "; do sleep 0.05; done';
  await node.client.ExecSync({ containerId, cmd: ['sh', '-c', script], timeout: 20n });
  const child = node.machine.spawn([crioProgram, 'port-forward', 'ports', ':80', '18081:81'], ['ignore', 'pipe', 'pipe']);
  let said = '';
  let complaint = '';
  child.stderr?.on('data', (chunk: Buffer) => (complaint += chunk.toString('utf8')));
  while (said.split('\n').length < 3) {
    const [chunk] = (await once(child.stdout ?? child, 'data')) as [Buffer];
    said += chunk.toString('utf8');
  }
  const [, port = ''] = /^Forwarding from 127\.0\.0\.1:(\d+) -> 80\nForwarding from 127\.0\.0\.1:18081 -> 81\n$/.exec(said) ?? [];
  const { stdout } = await node.exec(['busybox', 'nc', '127.0.0.1', port]);
  assert.equal(stdout.toString('utf8'), 'from the pod\n');
  await node.exec(['busybox', 'nc', '127.0.0.1', '18081'], { mayFail: true });
  while (!complaint.includes('ECONNREFUSED')) await once(child.stderr ?? child, 'data');
  const ended = once(child, 'exit');
  process.kill(node.machine.pidOf(child) ?? 0, 'SIGINT');
  assert.deepEqual(await ended, [0, null]);
  await node.client.StopContainer({ containerId, timeout: 0n });
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('crio logs: several containers, in the order of their times; since; and what was rotated away', async () => {
  const config = podConfig(node.machine, 'logs');
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  for (const name of ['one', 'two']) {
    const container = containerConfig(name, BUSYBOX, ['sh', '-c', `echo ${name} first; sleep 0.4; echo ${name} last`]);
    const { containerId } = await node.client.CreateContainer({ podSandboxId, config: container, sandboxConfig: config });
    await node.client.StartContainer({ containerId });
  }
  const follow = await node.crio(['logs', '-f', 'logs']);
  const followed = follow.stdout.toString('utf8').trimEnd().split('\n');
  assert.deepEqual(followed.toSorted(), ['one | one first', 'one | one last', 'two | two first', 'two | two last']);
  const { stdout } = await node.crio(['logs', '-t', 'logs']);
  const times = stdout
    .toString('utf8')
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' ')[2] ?? '');
  assert.deepEqual(times, times.toSorted());
  const path = node.path(`${config.logDirectory}/one.log`);
  const old = `${readFileSync(path, 'utf8')}`;
  renameSync(path, `${path}.20260101-000000`);
  writeFileSync(path, old.replaceAll('one', 'new'));
  const all = await node.crio(['logs', 'logs/one']);
  assert.equal(all.stdout.toString('utf8'), 'one first\none last\nnew first\nnew last\n');
  const tail = await node.crio(['logs', '--tail', '3', 'logs/one']);
  assert.equal(tail.stdout.toString('utf8'), 'one last\nnew first\nnew last\n');
  const none = await node.crio(['logs', '--since', '2999-01-01T00:00:00Z', 'logs/one']);
  assert.equal(none.stdout.toString('utf8'), '');
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('crio cp: a file and a tree, into a container and out of it', async () => {
  const files = '/run/cp';
  await node.exec([
    'sh',
    '-c',
    `mkdir -p ${files}/tree/sub && head -c 2000000 /dev/urandom > ${files}/tree/sub/big && echo small > ${files}/small`,
  ]);
  await node.crio(['cp', `${files}/small`, 'web:/tmp']);
  await node.crio(['cp', `${files}/small`, 'web:/tmp/renamed']);
  await node.crio(['cp', `${files}/tree`, 'web:/tmp/there']);
  const { stdout } = await node.crio(['exec', 'web', 'sh', '-c', 'cat /tmp/small /tmp/renamed; find /tmp/there | sort']);
  assert.equal(stdout.toString('utf8'), 'small\nsmall\n/tmp/there\n/tmp/there/sub\n/tmp/there/sub/big\n');
  await node.crio(['cp', 'web:/tmp/there', `${files}/back`]);
  await node.exec(['diff', '-r', `${files}/tree`, `${files}/back`]);
  await node.crio(['cp', 'web/main:/tmp/small', files]);
  const missing = await node.crio(['cp', 'web:/no/such', files], { mayFail: true });
  assert.notEqual(missing.code, 0);
  assert.match(missing.stderr, /tar in the container ended with \d+: .*no such/i);
  await node.exec(['rm', '-r', files]);
  await node.crio(['exec', 'web', 'sh', '-c', 'rm -r /tmp/small /tmp/renamed /tmp/there']);
});

test("crio top: a container's processes, as the node sees them", async () => {
  const { stdout } = await node.crio(['top', 'web']);
  const [head, ...rows] = stdout.toString('utf8').trimEnd().split('\n');
  assert.match(head ?? '', /^PID +PARENT +UID +THREADS +TIME +COMMAND$/);
  assert.equal(rows.length, 2);
  assert.match(rows[0] ?? '', /^\d+ +\d+ +0 +1 +\d+\.\d\d +sh -c trap/);
  const { stdout: json } = await node.crio(['top', '-o', 'json', 'web']);
  const all = JSON.parse(json.toString('utf8')) as { pid: number; parent: number; command: string }[];
  assert.equal(all[1]?.parent, all[0]?.pid);
});
