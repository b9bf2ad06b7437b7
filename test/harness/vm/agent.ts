// What runs in a virtual machine in the test's place (vm.ts): waits on the console for the word to begin, calls the test, and does what it
// says there, a line of JSON each (protocol.ts). It is copied into the machine without its types, so it imports only Node's own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, watch, writeFileSync } from 'node:fs';
import { type Socket, connect } from 'node:net';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { Answer, Order } from './protocol.ts';

const HOST = '10.0.2.2'; // What qemu's user network calls the loopback address of the machine that it runs on.

/** A connection to the test, which begins with the line that says what it is for. */
async function call(port: number, purpose: string): Promise<Socket> {
  const socket = connect(port, HOST);
  socket.setNoDelay(true);
  await once(socket, 'connect');
  socket.write(`${purpose}\n`);
  return socket;
}

async function perform(order: Order, port: number): Promise<Omit<Answer, 'id'>> {
  if (order.kind === 'exec') return await run(order.argv, order.stdin);
  if (order.kind === 'start') return await start(order.argv, order.socket);
  if (order.kind === 'connect') return await join(order.id, order.socket, port);
  mkdirSync(dirname(order.path), { recursive: true });
  writeFileSync(order.path, order.text);
  chmodSync(order.path, order.text.startsWith('#!') ? 0o755 : 0o644);
  return {};
}

async function run(argv: readonly string[], stdin: string): Promise<Omit<Answer, 'id'>> {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, { stdio: 'pipe' });
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => {}); // Judged by the exit code.
  child.stdin.end(stdin);
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, stdout: Buffer.concat(stdout).toString('base64'), stderr: Buffer.concat(stderr).toString('base64') };
}

/** Starts a daemon, whose words go to the console; done when it accepts connections, an error when it ends before. */
async function start(argv: readonly string[], path: string): Promise<Omit<Answer, 'id'>> {
  const [program = '', ...args] = argv;
  const directory = dirname(path);
  mkdirSync(directory, { recursive: true });
  using over = new DisposableStack();
  const changes = over.adopt(watch(directory), (watcher) => watcher.close());
  const output = openSync('/dev/console', 'w');
  const child = spawn(program, args, { stdio: ['ignore', output, output] });
  closeSync(output);
  const ended = once(child, 'exit').then(() => true);
  // Between the socket's appearance and the moment from which it is listened to there is no event: a short wait then.
  while (!(await accepts(path))) {
    const appeared = existsSync(path) ? delay(50, false) : once(changes, 'change').then(() => false);
    if (await Promise.race([ended, appeared])) throw new Error(`${program} ended with ${child.exitCode ?? child.signalCode ?? '?'}`);
  }
  return {};
}

async function accepts(path: string): Promise<boolean> {
  if (!existsSync(path)) return false;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const attempt = connect(path);
  attempt.once('connect', () => resolve(true));
  attempt.once('error', () => resolve(false));
  const result = await promise;
  attempt.destroy();
  return result;
}

/** Joins a new connection to the test with one to a socket of this machine. */
async function join(id: number, path: string, port: number): Promise<Omit<Answer, 'id'>> {
  const inside = connect(path);
  await once(inside, 'connect');
  const outside = await call(port, String(id));
  for (const [from, to] of [
    [inside, outside],
    [outside, inside],
  ] as const) {
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.once('close', () => to.destroy());
  }
  return {};
}

async function serve(port: number): Promise<void> {
  const control = await call(port, 'control');
  for await (const line of createInterface({ input: control })) {
    const order = JSON.parse(line) as Order;
    perform(order, port).then(
      (answer) => control.write(`${JSON.stringify({ id: order.id, ...answer })}\n`),
      (error: Error) => control.write(`${JSON.stringify({ id: order.id, error: error.message })}\n`),
    );
  }
}

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const [word, port, seconds = ''] = line.split(' ');
  if (word !== 'go') continue;
  await run(['date', '-s', `@${seconds}`], ''); // This machine may have been saved long ago.
  void serve(Number(port));
}
