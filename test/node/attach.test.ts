import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ContainerState } from '../../src/wire/index.ts';
import { eventually } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { type ContainerInput, OBEDIENT, containerConfig, podConfig, runPod, settled, startPod, stateOf } from '../harness/pods.ts';
import { type OpenCommand, PROTOCOLS, type Protocol, openUrl } from '../harness/streaming.ts';

const node = useNode({ images: ['busybox'], config: '[crio.runtime]\nlog_size_max = 10485760\n' });

async function start(
  name: string,
  command: readonly string[],
  more: ContainerInput = {},
): Promise<{ podSandboxId: string; containerId: string }> {
  const container = containerConfig('c', BUSYBOX, command, more);
  return await startPod(node.client, podConfig(node.machine, name), container, '');
}

async function attach(containerId: string, more: { stdin?: boolean; tty?: boolean; protocol?: Protocol } = {}): Promise<OpenCommand> {
  const { protocol = 'spdy', stdin = false, tty = false } = more;
  const wanted = { stdin, stdout: true, stderr: !tty, tty };
  const { url } = await node.client.Attach({ containerId, ...wanted });
  return await openUrl(node, protocol, url, wanted);
}

/** Reads until `text` has come; pieces may come two at a time. */
async function until(stream: Readable | undefined, text: string): Promise<string> {
  if (stream === undefined) assert.fail('no stream');
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let all = '';
  const onData = (chunk: Buffer) => {
    all += chunk.toString('utf8');
    if (all.includes(text)) resolve(all);
  };
  const onEnd = () => reject(new Error(`the stream ended before "${text}": ${all}`));
  stream.on('data', onData);
  stream.once('close', onEnd);
  try {
    return await promise;
  } finally {
    stream.off('data', onData);
    stream.off('close', onEnd);
  }
}

/** What a container said before somebody attached is in its log only. */
async function hasLogged(containerId: string, word: string): Promise<void> {
  const { logPath } = await stateOf(node.client, containerId);
  await eventually(`it says "${word}"`, async () => readFileSync(node.path(logPath), 'utf8').includes(word));
}

/** At once: a shell that reads is deaf to a stop signal, as the first process of its namespace. */
async function remove(podSandboxId: string): Promise<void> {
  const { containers } = await node.client.ListContainers({ filter: { podSandboxId } });
  for (const { id } of containers) await node.client.StopContainer({ containerId: id, timeout: 0n });
  await node.client.RemovePodSandbox({ podSandboxId });
}

/** Says what it reads, a line at a time, on both streams. */
const ECHO = ['sh', '-c', 'while read line; do echo "out $line"; echo "err $line" >&2; done; echo over'];

for (const protocol of PROTOCOLS) {
  test(`[E57 E58 E59 E60] ${protocol}: input, output and errors of a running container`, async () => {
    const { podSandboxId, containerId } = await start('attach', ECHO, { stdin: true });
    const client = await attach(containerId, { stdin: true, protocol });
    const [out, err] = [until(client.stdout, 'out hello\n'), until(client.stderr, 'err hello\n')];
    client.input.write('hello\n');
    assert.deepEqual([await out, await err], ['out hello\n', 'err hello\n']);
    client.close();
    assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
    await remove(podSandboxId);
  });
}

test('[E64] several clients see the same, from when they came; one that goes does not matter', async () => {
  const { podSandboxId, containerId } = await start('many', ECHO, { stdin: true });
  const first = await attach(containerId, { stdin: true });
  const seen = until(first.stdout, 'out one\n');
  first.input.write('one\n');
  await seen;
  const others = [await attach(containerId), await attach(containerId, { protocol: 'v4.channel.k8s.io' })];
  const all = [first, ...others].map((client) => until(client.stdout, 'out two\n'));
  first.input.write('two\n');
  assert.deepEqual(await Promise.all(all), ['out two\n', 'out two\n', 'out two\n']);
  others[0]?.socket.destroy();
  const last = [first, others[1]].map((client) => until(client?.stdout, 'out three\n'));
  first.input.write('three\n');
  await Promise.all(last);
  for (const client of [first, ...others]) client.socket.destroy();
  await remove(podSandboxId);
});

test('[E60 E62] the end of the input: a container with stdin_once reads its end, another one goes on and its client is let go', async () => {
  const once = await start('once', ECHO, { stdin: true, stdinOnce: true });
  const client = await attach(once.containerId, { stdin: true });
  client.input.end('last\n');
  const { stdout, exitCode } = await client.result();
  assert.deepEqual([stdout, exitCode], ['out last\nover\n', 0]);
  assert.equal((await settled(node.client, once.containerId)).exitCode, 0);
  await remove(once.podSandboxId);

  const open = await start('open', ECHO, { stdin: true });
  const left = await attach(open.containerId, { stdin: true });
  left.input.end();
  assert.equal((await left.result()).exitCode, 0);
  const again = await attach(open.containerId, { stdin: true });
  const seen = until(again.stdout, 'out again\n');
  again.input.write('again\n');
  await seen;
  again.close();
  await remove(open.podSandboxId);
});

test('[E61] ctrl-p ctrl-q detaches, and the container goes on; alone or within other bytes they are typed', async () => {
  const { podSandboxId, containerId } = await start('detach', ['sh', '-c', 'stty raw -echo; echo ready; od -An -tx1 -v -w1'], {
    stdin: true,
    tty: true,
  });
  await hasLogged(containerId, 'ready');
  const client = await attach(containerId, { stdin: true, tty: true });
  client.input.write('\u0010\u0011xxxxxxxxxxxxxx');
  client.input.write('\u0010');
  client.input.write('y');
  const seen = await until(client.stdout, '79');
  assert.match(seen.replaceAll(/\s+/g, ' '), /10 11 78( 78)* 10 79/);
  client.input.write('\u0010');
  client.input.write('\u0011');
  assert.equal((await client.result()).exitCode, 0);
  assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
  await remove(podSandboxId);
});

test('[E63] the window of a client is the size of the terminal', async () => {
  const script = 'trap "stty size" WINCH; echo listening; while :; do sleep 0.05; done';
  const { podSandboxId, containerId } = await start('window', ['sh', '-c', script], { tty: true });
  await hasLogged(containerId, 'listening');
  const client = await attach(containerId, { tty: true });
  const first = until(client.stdout, '30 90');
  client.resize(90, 30);
  await first;
  const last = until(client.stdout, '44 120');
  for (let n = 1; n <= 20; n++) client.resize(100 + n, 24 + n);
  await last;
  client.close();
  await remove(podSandboxId);
});

test('[E56] a container that has ended cannot be attached to; one that ends lets its clients go', async () => {
  const { podSandboxId, containerId } = await runPod(node.client, podConfig(node.machine, 'end'), containerConfig('c', BUSYBOX, OBEDIENT));
  const wanted = { stdout: true };
  const { url } = await node.client.Attach({ containerId, ...wanted });
  const client = await attach(containerId);
  await node.client.StopContainer({ containerId, timeout: 5n });
  assert.equal((await client.result()).exitCode, 0);
  const late = await openUrl(node, 'spdy', url, wanted);
  await assert.rejects(late.exit, /error attaching to container: container is not created or running/);
  await remove(podSandboxId);
});

test('[E57] after a restart of the daemon containers can be attached to as before', async () => {
  const { podSandboxId, containerId } = await start('restart', ECHO, { stdin: true });
  await node.kill9();
  await node.start();
  const client = await attach(containerId, { stdin: true });
  const seen = until(client.stdout, 'out after\n');
  client.input.write('after\n');
  await seen;
  client.close();
  await remove(podSandboxId);
});

test('[E59] a flood arrives whole and in order, and the input may be one', async () => {
  const { podSandboxId, containerId } = await start('flood', ['sh', '-c', 'read go; cat | wc -c; seq 1 200000'], {
    stdin: true,
    stdinOnce: true,
  });
  const client = await attach(containerId, { stdin: true });
  const result = client.result();
  client.input.write('go\n');
  client.input.end(Buffer.alloc(2_000_000, 'x'));
  const { stdout } = await result;
  const [count, ...numbers] = stdout.trimEnd().split('\n');
  assert.equal(Number(count), 2_000_000);
  assert.equal(numbers.length, 200_000);
  assert.ok(numbers.every((line, index) => line === String(index + 1)));
  await remove(podSandboxId);
});

test('a gigabyte goes through a reader that stops and goes on, and the daemon keeps little of what is between', async () => {
  const { podSandboxId, containerId } = await start('gigabyte', ['sh', '-c', 'read go; head -c 1000000000 /dev/zero; echo end'], {
    stdin: true,
    stdinOnce: true,
  });
  const client = await attach(containerId, { stdin: true });
  client.input.write('go\n');
  await once(client.stdout ?? assert.fail('no stream'), 'readable');
  client.socket.pause();
  const before = anonymousKb();
  await delay(1000); // More time would only show more strongly what is to be shown.
  assert.ok(anonymousKb() - before < 8 * 1024);
  client.socket.resume();
  let [length, most] = [0, 0];
  for await (const chunk of client.stdout ?? []) {
    if (length % (64 * 1024 * 1024) < (chunk as Buffer).length) most = Math.max(most, anonymousKb() - before);
    length += (chunk as Buffer).length;
  }
  assert.equal(length, 1_000_000_004);
  assert.ok(most < 96 * 1024, `${most} KiB more than before`); // V8 looks at buffers outside its heap when there are 64 MiB of them.
  assert.equal(await client.exit, 0);
  client.close();
  await remove(podSandboxId);
});

/** The daemon's own memory. */
function anonymousKb(): number {
  return Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${node.daemonPid}/status`, 'utf8'))?.[1]);
}
