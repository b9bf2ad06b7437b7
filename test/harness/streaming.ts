import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { Readable, Writable } from 'node:stream';
import { type RemoteCommand, exitCode, openRemoteCommand } from '../../src/cli/streaming/command.ts';
import { NamespaceMaker } from '../../src/linux/index.ts';
import { WebSocketConnection, requestUpgrade } from '../../src/streams/index.ts';
import type { MessageInput, ExecRequest } from '../../src/wire/index.ts';
import type { CriClient } from './client.ts';
import type { Machine } from './machine.ts';

/** A daemon on a machine. */
interface Streaming {
  readonly machine: Machine;
  readonly client: CriClient;
}

const sockets = new NamespaceMaker();

/** A connection to an address inside the machine, from the test's own process. */
export async function connectInside(node: Pick<Streaming, 'machine'>, port: number, host = '127.0.0.1'): Promise<Socket> {
  const fd = await sockets.tcpSocket({ netns: `/proc/${node.machine.init}/ns/net`, family: host.includes(':') ? 6 : 4 });
  const socket = new Socket({ fd: fd.take(), allowHalfOpen: true, manualStart: true } as { fd: number; allowHalfOpen: boolean });
  socket.connect({ host, port });
  await once(socket, 'connect');
  return socket;
}

/** As `connectInside`, to where a streaming URL points. */
export async function connectTo(node: Pick<Streaming, 'machine'>, url: string): Promise<Socket> {
  return await connectInside(node, Number(new URL(url).port));
}

/** What came out of a command, and how it ended. */
export interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

export interface OpenCommand extends Pick<RemoteCommand, 'stdin' | 'stdout' | 'stderr' | 'resize' | 'close' | 'exit'> {
  readonly socket: Socket;
  readonly input: Writable;
  /** Reads to the end. */
  result(): Promise<Ended>;
}

export const PROTOCOLS = ['spdy', 'v5.channel.k8s.io', 'v4.channel.k8s.io', 'v4.base64.channel.k8s.io'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

type Wanted = Pick<MessageInput<ExecRequest>, 'stdin' | 'stdout' | 'stderr' | 'tty'>;

/** Exec with streams over one of the protocols; stdout and stderr are wanted unless it is said otherwise. */
export async function openExec(node: Streaming, protocol: Protocol, request: MessageInput<ExecRequest>): Promise<OpenCommand> {
  const wanted = { stdin: false, stdout: true, stderr: request.tty !== true, ...request };
  const { url } = await node.client.Exec(wanted);
  return await openUrl(node, protocol, url, wanted);
}

export async function openUrl(node: Pick<Streaming, 'machine'>, protocol: Protocol, url: string, wanted: Wanted): Promise<OpenCommand> {
  const socket = await connectTo(node, url);
  const streams = {
    stdin: wanted.stdin === true,
    stdout: wanted.stdout === true,
    stderr: wanted.stderr === true,
    tty: wanted.tty === true,
  };
  const remote =
    protocol === 'spdy' ? await openRemoteCommand(socket, new URL(url), streams) : await overWebSocket(socket, new URL(url), protocol);
  return {
    ...remote,
    socket,
    get input(): Writable {
      if (remote.stdin === undefined) throw new Error('the command has no stdin');
      return remote.stdin;
    },
    async result() {
      const [stdout, stderr] = await Promise.all([textOf(remote.stdout), textOf(remote.stderr)]);
      const exitCode = await remote.exit;
      remote.close();
      return { stdout, stderr, exitCode };
    },
  };
}

export async function textOf(stream: Readable | undefined): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream ?? []) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}

/** A client of channels over WebSocket, as kubectl's and a browser's are. */
async function overWebSocket(socket: Socket, url: URL, protocol: string): Promise<RemoteCommand> {
  const { head, headers } = await requestUpgrade(socket, {
    method: 'GET',
    path: url.pathname,
    host: url.host,
    headers: [
      ['Upgrade', 'websocket'],
      ['Sec-WebSocket-Version', '13'],
      ['Sec-WebSocket-Key', randomBytes(16).toString('base64')],
      ['Sec-WebSocket-Protocol', protocol],
    ],
  });
  assert.equal(headers.get('sec-websocket-protocol'), protocol);
  const base64 = protocol.includes('base64');
  let message: Buffer[] = [];
  const outputs = [1, 2, 3].map(() => new Readable({ read: () => connection.resume() }));
  const connection = new WebSocketConnection(socket, {
    role: 'client',
    head,
    onMessage: (bytes, _, last) => {
      message.push(Buffer.from(bytes));
      if (!last) return;
      const whole = Buffer.concat(message);
      message = [];
      const channel = base64 ? Number(whole.toString('latin1', 0, 1)) : (whole[0] ?? 0);
      const data = base64 ? Buffer.from(whole.toString('latin1', 1), 'base64') : whole.subarray(1);
      if (data.length > 0 && outputs[channel - 1]?.push(data) === false) connection.pause();
    },
  });
  void connection.closed.then(() => outputs.forEach((output) => output.push(null)));
  const send = (channel: number, chunk: Buffer, done?: (error?: Error | null) => void) =>
    base64
      ? connection.send('text', [Buffer.from(`${channel}${chunk.toString('base64')}`)], done)
      : connection.send('binary', [Buffer.of(channel), chunk], done);
  const stdin = new Writable({
    write: (chunk: Buffer, __, done) => send(0, chunk, done),
    final: (done) => (protocol.startsWith('v5') ? connection.send('binary', [Buffer.of(255, 0)], done) : done()),
  });
  const [stdout, stderr, error] = outputs;
  return {
    stdin,
    stdout,
    stderr,
    resize: (width, height) => send(4, Buffer.from(JSON.stringify({ Width: width, Height: height }))),
    exit: textOf(error).then(exitCode),
    close: () => connection.close(),
  };
}
