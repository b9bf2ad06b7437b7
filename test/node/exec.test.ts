import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { NamespaceMode } from '../../src/wire/index.ts';
import { eventually, refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, settled, startPod, stateOf, untilListening } from '../harness/pods.ts';

let pod: { podSandboxId: string; containerId: string };
const node = useNode({ images: ['busybox'] }, async ({ client, machine }) => {
  const config = containerConfig('c', BUSYBOX, OBEDIENT, {
    envs: [{ key: 'OWN', value: Buffer.from('of the container') }],
    workingDir: '/tmp',
    linux: {
      resources: {},
      securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER }, runAsUser: { value: 1000n }, supplementalGroups: [7n] },
    },
  });
  pod = await runPod(client, podConfig(machine, 'exec'), config);
});

async function exec(cmd: readonly string[], timeout = 20n): Promise<{ stdout: string; stderr: string; exitCode: number }> {
  const { stdout, stderr, exitCode } = await node.client.ExecSync({ containerId: pod.containerId, cmd, timeout });
  return { stdout: Buffer.from(stdout).toString('utf8'), stderr: Buffer.from(stderr).toString('utf8'), exitCode };
}

test('[E9 E12] output comes back by stream, with lines as they were, and the exit code', async () => {
  const answer = await exec(['sh', '-c', 'echo one; echo two >&2; printf three; exit 5']);
  assert.deepEqual(answer, { stdout: 'one\nthree', stderr: 'two\n', exitCode: 5 });
});

test('[E9] death by a signal is 128 and the signal', async () => {
  assert.equal((await exec(['sh', '-c', 'kill -TERM $$'])).exitCode, 143);
});

test("[E6] environment, working directory, user and groups are the container's", async () => {
  const { stdout } = await exec(['sh', '-c', 'echo $OWN; pwd; id -u; id -G']);
  const [own, cwd, uid, groups] = stdout.split('\n');
  assert.deepEqual([own, cwd, uid], ['of the container', '/tmp', '1000']);
  assert.ok(groups?.split(' ').includes('7'));
});

test('[E7 E8] after its timeout the command is killed, and the answer is no gRPC error', async () => {
  const began = Date.now();
  const answer = await exec(['sh', '-c', 'echo lost; sleep 600'], 1n);
  assert.ok(Date.now() - began >= 1000 && Date.now() - began < 10_000);
  assert.deepEqual(answer, { stdout: '', stderr: 'command timed out', exitCode: -1 });
  const { stdout } = await exec(['ps']);
  assert.doesNotMatch(stdout, /sleep 600/);
});

test('[E7] a timeout of centuries is no limit', async () => {
  assert.equal((await exec(['sh', '-c', 'sleep 0.3; echo done'], 2n ** 62n)).stdout, 'done\n');
});

test('[E3] an empty command is refused', async () => {
  await refused(exec([]), 'INVALID_ARGUMENT', 'exec command cannot be empty');
});

test('[E1] an unknown container is NotFound', async () => {
  const containerId = 'd'.repeat(64);
  const text = `could not find container "${containerId}": container with ID starting with ${containerId} not found: ID does not exist`;
  await refused(node.client.ExecSync({ containerId, cmd: ['true'] }), 'NOT_FOUND', text);
});

test('[E2] nothing is executed in a container that has ended, and it says so', async () => {
  const ended = await startPod(node.client, podConfig(node.machine, 'ended'), containerConfig('c', BUSYBOX, ['true']), '');
  await settled(node.client, ended.containerId);
  const text = new RegExp(`^container is not created or running: checking if PID of ${ended.containerId} is running failed: `);
  await refused(node.client.ExecSync({ containerId: ended.containerId, cmd: ['true'], timeout: 5n }), 'NOT_FOUND', text);
  await node.client.RemovePodSandbox({ podSandboxId: ended.podSandboxId });
});

test('[E14] a container that is asked to stop still executes commands', async () => {
  const config = containerConfig('c', BUSYBOX, ['sh', '-c', 'trap "echo asked" TERM; while :; do sleep 0.05; done']);
  const deaf = await startPod(node.client, podConfig(node.machine, 'deaf'), config, '');
  const { containerId, podSandboxId } = deaf;
  const { logPath } = await stateOf(node.client, containerId);
  await untilListening(node.client, containerId);
  const stop = node.client.StopContainer({ containerId, timeout: 5n });
  await eventually('it was asked', async () => readFileSync(node.path(logPath), 'utf8').includes('asked'));
  const { stdout } = await node.client.ExecSync({ containerId, cmd: ['echo', 'still'], timeout: 5n });
  assert.equal(Buffer.from(stdout).toString('utf8'), 'still\n');
  await stop;
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[E16] a pod without a pause container is no container to execute in', async () => {
  const { podSandboxId } = pod;
  await refused(node.client.ExecSync({ containerId: podSandboxId, cmd: ['true'], timeout: 5n }), 'NOT_FOUND', /^could not find container /);
});

test('[E10] a command that does not exist is an error that names it', async () => {
  await refused(exec(['/no/such/command']), 'UNKNOWN', /^command error: .*\/no\/such\/command.*exit code -1$/s);
});

test('[E12] long lines and megabytes arrive whole', async () => {
  const { stdout } = await exec(['sh', '-c', 'head -c 3000000 /dev/zero | tr "\\0" x; echo; seq 1 20000']);
  const [long, ...numbers] = stdout.trimEnd().split('\n');
  assert.equal(long?.length, 3_000_000);
  assert.equal(numbers.length, 20_000);
  assert.equal(numbers.at(-1), '20000');
});

test('twenty commands at a time do not mix their outputs', async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => exec(['sh', '-c', `echo ${n}; exit ${n}`])));
  assert.deepEqual(
    answers.map(({ stdout, exitCode }) => [stdout, exitCode]),
    answers.map((_, n) => [`${n}\n`, n]),
  );
});

test('[E5] nothing of an exec stays in the temporary directory', async () => {
  await exec(['true']);
  await exec(['false']);
  const { stdout } = await node.machine.exec(['sh', '-c', `ls /tmp | grep -E "${pod.containerId}|^(pidfile|exec-process-)" || true`]);
  assert.equal(stdout.toString('utf8'), '');
});
