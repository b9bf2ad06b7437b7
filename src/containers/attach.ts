import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { Failure, codeOf, textOf } from '../errors/index.ts';
import { type TerminalSize, connectSeqpacket } from '../linux/index.ts';
import type { Container } from './container.ts';
import type { ClientStreams } from './exec.ts';
import { initIsAlive } from './liveness.ts';
import { tellMonitor } from './monitor-control.ts';

/** conmon takes so many bytes in a packet, and cuts longer ones. */
const PACKET = 8192;
const STREAM = { stdout: 2, stderr: 3 } as const;
const DETACH = [16, 17] as const;
/** New conmons refuse larger ones. */
const MOST_CELLS = 1000;
/**
 * While a client takes nothing, conmon waits for us, and with it the container and its log. A client that stays so for that long has
 * gone for a walk: it is detached.
 */
const STALLED_AFTER_MS = 30_000;
const CONNECT_TRIES = 100;

/**
 * Attach [E56–E64]: connects the client with the streams of a running container, from now on, until the container ends, the client goes
 * or types ctrl-p ctrl-q; without a terminal, where the container's stdin outlives clients, also when the client's stdin ends [E62].
 */
export async function attach(container: Container, attachSocketDir: string, client: ClientStreams): Promise<void> {
  if (!initIsAlive(container)) throw new Failure('FailedPrecondition', 'container is not created or running');
  const monitor = await connectToMonitor(container, join(attachSocketDir, container.id, 'attach'));
  const done = Promise.withResolvers<void>();
  monitor.on('error', (error) =>
    done.reject(new Failure('Unavailable', `attach socket of container ${container.id}: ${textOf(error)}`, { cause: error })),
  );
  const leave = () => done.resolve();
  client.gone.addEventListener('abort', leave, { once: true });
  try {
    if (client.gone.aborted) leave();
    if (container.facts.tty) followWindow(container, client);
    const output = new Output(monitor, client, (why) => done.reject(why));
    void output.done.then(leave);
    if (client.stdin !== undefined) void passInput(container, client.stdin, monitor).then((over) => over && leave(), done.reject);
    await done.promise;
  } finally {
    client.gone.removeEventListener('abort', leave);
    monitor.destroy();
  }
}

/** Its queue of ten may be full for a moment. */
async function connectToMonitor(container: Container, path: string): Promise<Socket> {
  for (let tries = 1; ; tries++) {
    try {
      return connectSeqpacket(path);
    } catch (error) {
      if (codeOf(error) === 'EAGAIN' && tries < CONNECT_TRIES) {
        await delay(10);
        continue;
      }
      throw new Failure('Unavailable', `failed to connect to container ${container.id} attach socket: ${textOf(error)}`, {
        cause: error,
        advice: 'The monitor of this container has ended or does not answer; its output is not lost to the log as long as it lives.',
      });
    }
  }
}

/** conmon's packets: a byte that names the stream, and what was written to it [E59]. */
class Output {
  /** Settles when conmon has closed: the container has ended. */
  readonly done: Promise<void>;
  readonly #monitor: Socket;
  readonly #stalled: (why: Failure) => void;

  constructor(monitor: Socket, client: ClientStreams, stalled: (why: Failure) => void) {
    this.#monitor = monitor;
    this.#stalled = stalled;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.done = promise;
    monitor.once('end', resolve);
    monitor.once('close', resolve);
    monitor.on('data', (packet: Buffer) => {
      const to = packet[0] === STREAM.stdout ? client.stdout : packet[0] === STREAM.stderr ? client.stderr : undefined;
      if (to?.writable === true && !to.write(packet.subarray(1))) void this.#wait(to);
    });
  }

  async #wait(to: Writable): Promise<void> {
    this.#monitor.pause();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#stalled(
        new Failure('Unavailable', `the client took nothing for ${STALLED_AFTER_MS} ms: detached, so that the container goes on`),
      );
    }, STALLED_AFTER_MS);
    to.once('drain', resolve);
    to.once('close', resolve);
    await promise;
    clearTimeout(timer);
    to.off('drain', resolve);
    to.off('close', resolve);
    this.#monitor.resume();
  }
}

/** Answers whether the attachment is over with the input. */
async function passInput(container: Container, stdin: Readable, monitor: Socket): Promise<boolean> {
  const detach = new DetachKeys();
  let detached = false;
  await eachChunk(stdin, async (chunk) => {
    const typed = detach.typed(chunk);
    detached = typed === undefined;
    if (typed === undefined) return false;
    for (let at = 0; at < typed.length; at += PACKET) {
      if (!(await sendPacket(monitor, typed.subarray(at, at + PACKET)))) return false;
    }
    return true;
  });
  if (detached) return true;
  const { tty, stdinOnce, stdin: open } = container.facts;
  monitor.end();
  return open && !stdinOnce && !tty;
}

/** Chunk by chunk as they came, one at a time, until the end or until `use` has had enough. */
async function eachChunk(stream: Readable, use: (chunk: Buffer) => Promise<boolean>): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let using = Promise.resolve();
  stream.on('data', (chunk: Buffer) => {
    stream.pause();
    using = use(chunk).then((more) => void (more ? stream.resume() : resolve()), reject);
  });
  // The end comes with the last chunk, not when that has been used.
  const ended = () => void using.then(resolve);
  stream.once('end', ended);
  stream.once('close', ended);
  await promise;
}

/** One at a time: what waits together would be sent together. False when the monitor has gone. */
async function sendPacket(monitor: Socket, bytes: Buffer): Promise<boolean> {
  if (!monitor.writable) return false;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  monitor.write(bytes, (error) => resolve(error === null || error === undefined));
  return await promise;
}

/** ctrl-p ctrl-q, each typed by itself [E61]: as part of something longer they are data. */
export class DetachKeys {
  #seen = false;

  /** What to pass on; undefined when the client has detached. */
  typed(chunk: Buffer): Buffer | undefined {
    const [key] = chunk;
    const single = chunk.length === 1;
    if (this.#seen) {
      this.#seen = false;
      if (single && key === DETACH[1]) return undefined;
      return Buffer.concat([Buffer.of(DETACH[0]), chunk]);
    }
    if (!single || key !== DETACH[0]) return chunk;
    this.#seen = true;
    return Buffer.alloc(0);
  }
}

/** The last size is what counts: those that come while conmon reads one are left out. */
function followWindow(container: Container, client: ClientStreams): void {
  let next: TerminalSize | undefined;
  let telling = false;
  const tell = async () => {
    telling = true;
    for (let size = next; size !== undefined; size = next) {
      next = undefined;
      await tellMonitor(container, `1 ${Math.min(size.height, MOST_CELLS)} ${Math.min(size.width, MOST_CELLS)}\n`);
    }
  };
  client.onResize((size) => {
    next = size;
    if (telling) return;
    // A window that cannot be sized is no reason to end: its text stays readable.
    void tell()
      .catch(() => {})
      .finally(() => (telling = false));
  });
}
