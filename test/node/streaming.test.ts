import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { NamespaceMode } from '../../src/wire/index.ts';
import { refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, startPod } from '../harness/pods.ts';
import { type Protocol, PROTOCOLS, openExec, openUrl } from '../harness/streaming.ts';

let pod: { podSandboxId: string; containerId: string };
const node = useNode({ images: ['busybox'] }, async ({ client, machine }) => {
  pod = await runPod(client, podConfig(machine, 'streams'), containerConfig('c', BUSYBOX, OBEDIENT));
});
const ENDING: readonly Protocol[] = ['spdy', 'v5.channel.k8s.io'];

/** Commands of the container besides its own, as the container sees them. */
async function commands(containerId = pod.containerId): Promise<string[]> {
  const { stdout } = await node.client.ExecSync({ containerId, cmd: ['ps', '-o', 'args'], timeout: 20n });
  const own = /^(COMMAND|ps -o args|sleep 1000000|sh -c trap)/;
  return Buffer.from(stdout)
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '' && !own.test(line));
}

/** Until none is left, for five seconds at most. */
async function untilNone(): Promise<void> {
  for (let tries = 0; (await commands()).length > 0; tries++) {
    assert.ok(tries < 25, `still there: ${(await commands()).join(', ')}`);
    await delay(200);
  }
}

for (const protocol of PROTOCOLS) {
  test(`[E45 E49] ${protocol}: streams apart, byte for byte, and the exit code`, async () => {
    const cmd = ['sh', '-c', 'head -n 1; echo err >&2; exit 3'];
    const command = await openExec(node, protocol, { containerId: pod.containerId, cmd, stdin: true });
    command.input.write('hello\n');
    assert.deepEqual(await command.result(), { stdout: 'hello\n', stderr: 'err\n', exitCode: 3 });
  });

  test(`[E52 E44] ${protocol}: a terminal, its size, and what is typed`, async () => {
    const cmd = ['sh', '-c', 'tty; read x; stty size; echo "<$x>"'];
    const command = await openExec(node, protocol, { containerId: pod.containerId, cmd, stdin: true, tty: true });
    command.resize(101, 37);
    command.input.write('typed\n');
    const { stdout, exitCode } = await command.result();
    assert.match(stdout, /\/dev\/(pts\/\d+|console)/);
    assert.match(stdout, /37 101\r\n<typed>\r\n$/);
    assert.equal(exitCode, 0);
  });
}

for (const protocol of ENDING) {
  test(`[p38] ${protocol}: the end of the input reaches the command`, async () => {
    const command = await openExec(node, protocol, { containerId: pod.containerId, cmd: ['cat'], stdin: true });
    command.input.end('hello\n');
    assert.deepEqual(await command.result(), { stdout: 'hello\n', stderr: '', exitCode: 0 });
    for (const typed of ['hello\n', 'hello']) {
      const terminal = await openExec(node, protocol, { containerId: pod.containerId, cmd: ['cat'], stdin: true, tty: true });
      terminal.input.end(typed);
      const { stdout, exitCode } = await terminal.result();
      assert.ok(stdout.includes('hello'), stdout);
      assert.equal(exitCode, 0);
    }
  });

  test(`${protocol}: megabytes there and back arrive whole`, async () => {
    const bytes = Buffer.alloc(8 * 1024 * 1024, 'all kinds of bytes \0\x01\xff\r\n', 'latin1');
    const command = await openExec(node, protocol, { containerId: pod.containerId, cmd: ['cat'], stdin: true });
    command.input.end(bytes);
    const hash = createHash('sha256');
    let length = 0;
    for await (const chunk of command.stdout ?? []) {
      hash.update(chunk as Buffer);
      length += (chunk as Buffer).length;
    }
    assert.equal(length, bytes.length);
    assert.equal(hash.digest('hex'), createHash('sha256').update(bytes).digest('hex'));
    command.close();
  });

  test(`[E51] ${protocol}: a reader that stops stops the writer, and the daemon keeps little of what is between`, async () => {
    // V8 looks at buffers outside its heap when there are 64 MiB of them: of a gigabyte so many may be there for a moment.
    const [bytes, bound] = protocol === 'spdy' ? [1_000_000_000, 96] : [100_000_000, 64];
    const command = await openExec(node, protocol, { containerId: pod.containerId, cmd: ['head', '-c', String(bytes), '/dev/zero'] });
    command.socket.pause();
    await delay(300); // What fits in between has come by then; more time would only show more strongly what is to be shown.
    const before = anonymousKb(node.daemonPid);
    await delay(1000);
    assert.ok(anonymousKb(node.daemonPid) - before < 8 * 1024);
    command.socket.resume();
    let length = 0;
    let most = 0;
    for await (const chunk of command.stdout ?? []) {
      if (length % (8 * 1024 * 1024) < (chunk as Buffer).length) most = Math.max(most, anonymousKb(node.daemonPid) - before);
      length += (chunk as Buffer).length;
    }
    assert.equal(length, bytes);
    assert.ok(most < bound * 1024, `${most} KiB more than before`);
    command.close();
  });
}

test('[E51] stdin, stdout and stderr can be opened by name, by the user of the container', async () => {
  const config = containerConfig('user', BUSYBOX, OBEDIENT, {
    linux: { resources: {}, securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER }, runAsUser: { value: 1000n } } },
  });
  for (const handler of ['runc', 'crun']) {
    const other = await runPod(node.client, podConfig(node.machine, `user-${handler}`), config, handler);
    const cmd = ['sh', '-c', 'cat /dev/stdin > /dev/stdout; echo err > /dev/stderr'];
    const command = await openExec(node, 'spdy', { containerId: other.containerId, cmd, stdin: true });
    command.input.end('in');
    assert.deepEqual(await command.result(), { stdout: 'in', stderr: 'err\n', exitCode: 0 });
    await node.client.RemovePodSandbox({ podSandboxId: other.podSandboxId });
  }
});

for (const handler of ['runc', 'crun']) {
  test(`[p37 p39] ${handler}: a client that goes takes its command along: hang-up, then an end`, async () => {
    const other = await runPod(node.client, podConfig(node.machine, `gone-${handler}`), containerConfig('c', BUSYBOX, OBEDIENT), handler);
    const { containerId } = other;
    const ask = async (script: string) => {
      const { stdout } = await node.client.ExecSync({ containerId, cmd: ['sh', '-c', script], timeout: 20n });
      return Buffer.from(stdout).toString('utf8');
    };
    for (const tty of [false, true]) {
      // One that ends when it is told, and one that does not listen; both with a child.
      const cmds = [
        'trap "echo told > /tmp/told; exit" HUP; sleep 3333 & echo on; wait',
        'trap "" HUP; sleep 4444 & echo on; wait',
        'echo on; yes | cat',
      ];
      for (const script of cmds) {
        const command = await openExec(node, 'spdy', { containerId, cmd: ['sh', '-c', script], tty });
        await new Promise((resolve) => void command.stdout?.once('data', resolve));
        command.socket.destroy();
      }
      for (let tries = 0; (await ask('ps -o args')).match(/3333|4444|yes/) !== null; tries++) {
        assert.ok(tries < 30, await ask('ps -o args'));
        await delay(200);
      }
      assert.equal(await ask('cat /tmp/told; rm /tmp/told'), 'told\n');
    }
    await node.client.RemovePodSandbox({ podSandboxId: other.podSandboxId });
  });
}

test('[p37] sixty sessions that are cut off at any moment leave nothing, and the next one is served at once', async () => {
  const all = Array.from({ length: 60 }, async (_, n) => {
    const protocol = PROTOCOLS[n % PROTOCOLS.length] ?? 'spdy';
    const cmd = n % 3 === 0 ? ['yes'] : n % 3 === 1 ? ['cat'] : ['sh', '-c', 'sleep 5555'];
    const { url } = await node.client.Exec({
      containerId: pod.containerId,
      cmd,
      stdin: true,
      stdout: true,
      stderr: n % 2 === 0,
      tty: n % 2 === 1,
    });
    const opened = openUrl(node, protocol, url, { stdin: true, stdout: true, stderr: n % 2 === 0, tty: n % 2 === 1 });
    const cut = delay((n * 37) % 400);
    const command = await opened;
    command.stdout?.resume();
    command.stdout?.on('error', () => {});
    await cut;
    command.socket.destroy();
  });
  await Promise.all(all);
  await untilNone();
  const next = await openExec(node, 'spdy', { containerId: pod.containerId, cmd: ['echo', 'next'] });
  assert.equal((await next.result()).stdout, 'next\n');
});

test('[E50] children that a command leaves behind stay', async () => {
  const other = await runPod(node.client, podConfig(node.machine, 'children'), containerConfig('c', BUSYBOX, OBEDIENT), 'crun');
  const { containerId } = other;
  const command = await openExec(node, 'spdy', { containerId, cmd: ['sh', '-c', 'sleep 6666 & echo started'] });
  assert.deepEqual(await command.result(), { stdout: 'started\n', stderr: '', exitCode: 0 });
  assert.deepEqual(await commands(containerId), ['sleep 6666']);
  await node.client.RemovePodSandbox({ podSandboxId: other.podSandboxId });
});

test('[E54 p06] a stop does not wait for a command whose output nobody reads, and ends it', async () => {
  const linux = { resources: {}, securityContext: { namespaceOptions: { pid: NamespaceMode.NODE } } };
  const other = await startPod(
    node.client,
    podConfig(node.machine, 'stop'),
    containerConfig('c', BUSYBOX, ['sleep', '7777'], { linux }),
    '',
  );
  const command = await openExec(node, 'spdy', { containerId: other.containerId, cmd: ['yes', 'unread'] });
  command.socket.pause();
  await delay(200);
  const began = Date.now();
  await node.client.StopContainer({ containerId: other.containerId, timeout: 0n });
  assert.ok(Date.now() - began < 5000);
  const { stdout } = await node.exec(['sh', '-c', 'ps -e -o args | grep "yes unread" | grep -v grep || true']);
  for (let tries = 0; stdout.toString('utf8') !== '' && tries < 10; tries++) await delay(100);
  await node.client.RemovePodSandbox({ podSandboxId: other.podSandboxId });
  const after = await node.exec(['sh', '-c', 'ps -e -o args | grep "yes unread" | grep -v grep || true']);
  assert.equal(after.stdout.toString('utf8'), '');
  command.socket.destroy();
});

test('[E22 E23 E24] what is asked for must make sense', async () => {
  const { client } = node;
  const containerId = pod.containerId;
  const prefix = 'unable to prepare exec endpoint: rpc error: code = InvalidArgument desc = ';
  await refused(client.Exec({ cmd: ['true'], stdout: true }), 'INVALID_ARGUMENT', `${prefix}missing required container_id`);
  await refused(
    client.Exec({ containerId, cmd: ['true'], stdout: true, stderr: true, tty: true }),
    'INVALID_ARGUMENT',
    `${prefix}tty and stderr cannot both be true`,
  );
  await refused(client.Exec({ containerId, cmd: ['true'] }), 'INVALID_ARGUMENT', `${prefix}one of stdin, stdout, or stderr must be set`);
  await refused(client.Attach({ containerId }), 'INVALID_ARGUMENT', /one of stdin, stdout, and stderr must be set/);
  await refused(client.PortForward({ port: [80] }), 'INVALID_ARGUMENT', /missing required pod_sandbox_id/);
});

test('[E20 E21 E28] URLs: unknown containers have none, unknown pods do; they name the port that is listened on', async () => {
  const containerId = 'e'.repeat(64);
  const text = `could not find container "${containerId}": container with ID starting with ${containerId} not found: ID does not exist`;
  await refused(node.client.Exec({ containerId, cmd: ['true'], stdout: true }), 'UNKNOWN', text);
  await refused(node.client.Attach({ containerId, stdout: true }), 'UNKNOWN', text);
  const { url } = await node.client.PortForward({ podSandboxId: containerId, port: [80] });
  const port = Number(new URL(url).port);
  const { stdout } = await node.exec(['ss', '-Hltn']);
  assert.match(stdout.toString('utf8'), new RegExp(`127\\.0\\.0\\.1:${port}\\b`));
});

test('[E48] a container that ended before its client came is said at the end', async () => {
  const other = await runPod(node.client, podConfig(node.machine, 'ended'), containerConfig('c', BUSYBOX, OBEDIENT));
  const { url } = await node.client.Exec({ containerId: other.containerId, cmd: ['true'], stdout: true });
  const { url: late } = await node.client.Exec({ containerId: other.containerId, cmd: ['true'], stdout: true });
  await node.client.StopContainer({ containerId: other.containerId, timeout: 5n });
  const command = await openUrl(node, 'spdy', url, { stdout: true });
  await assert.rejects(command.exit, /container is not created or running: checking if PID of/);
  await node.client.RemovePodSandbox({ podSandboxId: other.podSandboxId });
  const unknown = await openUrl(node, 'spdy', late, { stdout: true });
  await assert.rejects(unknown.exit, /could not find container/);
});

/** Memory of a process that is its own. */
function anonymousKb(pid: number): number {
  return Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}
