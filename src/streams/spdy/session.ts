import type { Duplex } from 'node:stream';
import { Failure } from '../../errors/index.ts';
import { protocolFailure } from '../failure.ts';
import { FLAG, type Frame, FrameReader, RESET, TYPE, controlFrame, dataHead, inFrames } from './frames.ts';
import { HeaderDecoder, HeaderEncoder, type Headers } from './headers.ts';
import { SpdyStream, type StreamOwner } from './stream.ts';

export interface SessionOptions {
  readonly role: 'client' | 'server';
  /** Bytes that came with the upgrade. */
  readonly head?: Buffer;
  /** Streams at the same time. */
  readonly maxStreams?: number;
  /** A stream that the peer opens: false refuses it. Without this handler all are refused. */
  readonly onStream?: (stream: SpdyStream) => boolean;
}

const MAX_STREAMS = 1024;
/** How long a peer may take to close after we have said all: what it still sends is thrown away. */
const LINGER_MS = 5000;
/** While the connection is not read, only writing tells that the peer has gone. */
const PROBE_EVERY_MS = 5000;

/**
 * SPDY/3.1 as Kubernetes speaks it (`httpstream/spdy`), either side, over any connection. There is no flow control on the wire:
 * a stream whose reader has no room stops the reading of the whole connection. What is no SPDY ends the connection.
 */
export class SpdySession implements StreamOwner {
  /** Settles when the connection has closed; with the reason if that was not orderly. */
  readonly closed: Promise<Error | undefined>;
  readonly #connection: Duplex;
  readonly #options: SessionOptions;
  readonly #reader = new FrameReader();
  readonly #decoder = new HeaderDecoder();
  readonly #encoder = new HeaderEncoder();
  readonly #streams = new Map<number, SpdyStream>();
  readonly #replies = new Map<number, PromiseWithResolvers<void>>();
  readonly #blocked = new Set<SpdyStream>();
  #nextId: number;
  #lastRemote = 0;
  #handling: Promise<void> | undefined;
  #closing = false;
  #failure: Error | undefined;
  #probe: NodeJS.Timeout | undefined;

  constructor(connection: Duplex, options: SessionOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#nextId = options.role === 'client' ? 1 : 2;
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    this.closed = promise;
    connection.on('error', (error) => (this.#failure ??= error));
    connection.on('end', () => this.#onEnd());
    connection.once('close', () => {
      this.#release();
      resolve(this.#failure);
    });
    if (options.head !== undefined && options.head.length > 0) connection.unshift(options.head);
    connection.on('data', (bytes: Buffer) => this.#receive(bytes));
    connection.resume(); // Whoever read the answer to the upgrade has stopped it.
  }

  /** Opens a stream, and waits until the peer has accepted it. Fails with Unavailable when it refuses or goes. */
  async open(headers: Headers): Promise<SpdyStream> {
    if (this.#closing || this.#connection.destroyed) throw gone();
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = this.#add(id, headers);
    const reply = Promise.withResolvers<void>();
    this.#replies.set(id, reply);
    this.#connection.write(controlFrame(TYPE.synStream, 0, id, 0, Buffer.of(0, 0), this.#encoder.encode(headers)));
    await reply.promise;
    return stream;
  }

  /** Says that no more will come, and closes once the peer has closed or had time to. Streams that have not ended are reset. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    for (const stream of this.#streams.values()) stream.destroy();
    if (this.#connection.destroyed) return;
    this.#connection.end(controlFrame(TYPE.goAway, 0, this.#lastRemote, 0));
    this.#connection.resume();
    const timer = setTimeout(() => this.#connection.destroy(), LINGER_MS).unref();
    this.#connection.once('close', () => clearTimeout(timer));
  }

  destroy(reason?: Error): void {
    this.#failure ??= reason;
    this.#closing = true;
    this.#connection.destroy();
  }

  sendData(stream: number, chunks: readonly Buffer[], done: (error?: Error | null) => void): void {
    if (!this.#connection.writable) return done(gone());
    const parts = chunks.flatMap((chunk) => [...inFrames(chunk)]);
    if (parts.length === 0) return done();
    this.#connection.cork();
    for (const [at, part] of parts.entries()) {
      this.#connection.write(dataHead(stream, 0, part.length));
      this.#connection.write(part, at === parts.length - 1 ? done : undefined);
    }
    this.#connection.uncork();
  }

  sendFin(stream: number, done: (error?: Error | null) => void): void {
    if (!this.#connection.writable) return done(this.#closing ? null : gone());
    this.#connection.write(dataHead(stream, FLAG.fin, 0), done);
  }

  sendReset(stream: SpdyStream): void {
    if (!this.#closing) this.#reset(stream.id, RESET.cancel);
  }

  setBlocked(stream: SpdyStream, blocked: boolean): void {
    const before = this.#blocked.size;
    if (blocked) this.#blocked.add(stream);
    else this.#blocked.delete(stream);
    if (this.#blocked.size === before) return;
    if (this.#blocked.size === 0) this.#resume();
    else if (before === 0) this.#pause();
  }

  forget(stream: SpdyStream): void {
    this.#streams.delete(stream.id);
    this.setBlocked(stream, false);
  }

  #receive(bytes: Buffer): void {
    if (this.#closing) return;
    if (this.#handling === undefined) {
      this.#handling = this.#handleAll(this.#reader.read(bytes));
      if (this.#handling !== undefined) this.#connection.pause();
    } else this.#handling = this.#handling.then(() => this.#handleAll(this.#reader.read(bytes)));
    const handling = this.#handling;
    void handling?.then(() => {
      if (this.#handling !== handling) return;
      this.#handling = undefined;
      if (this.#blocked.size === 0) this.#connection.resume();
    });
  }

  /** Handles what can be handled at once; the rest, from the first frame with headers on, as a promise. */
  #handleAll(frames: Iterator<Frame>): Promise<void> | undefined {
    try {
      for (let next = frames.next(); next.done !== true && !this.#closing; next = frames.next()) {
        const later = this.#handle(next.value);
        if (later !== undefined) return later.then(() => this.#handleAll(frames)).catch((error: unknown) => this.#fail(error));
      }
    } catch (error) {
      this.#fail(error);
    }
    return undefined;
  }

  #handle(frame: Frame): Promise<void> | undefined {
    switch (frame.type) {
      case 'data':
        this.#streams.get(frame.stream)?.receive(frame.bytes, frame.fin);
        return undefined;
      case 'syn-stream':
        return this.#opened(frame.stream, frame.flags, frame.block);
      case 'syn-reply':
      case 'headers':
        return this.#decoder.decode(frame.block).then(() => {
          this.#settleReply(frame.stream);
          if ((frame.flags & FLAG.fin) !== 0) this.#streams.get(frame.stream)?.receiveFin();
        });
      case 'reset':
        this.#settleReply(frame.stream, new Failure('Unavailable', `the peer refused a stream (status ${frame.status})`));
        this.#streams.get(frame.stream)?.receiveReset();
        return undefined;
      case 'ping':
        // Even ids are a server's own.
        if ((frame.id & 1) === (this.#options.role === 'server' ? 1 : 0)) this.#connection.write(controlFrame(TYPE.ping, 0, frame.id));
        return undefined;
      case 'go-away':
      case 'ignored':
        return undefined;
      default:
        return frame satisfies never;
    }
  }

  async #opened(id: number, flags: number, block: Buffer): Promise<void> {
    const headers = await this.#decoder.decode(block);
    const theirs = this.#options.role === 'server' ? 1 : 0;
    if ((id & 1) !== theirs || id <= this.#lastRemote) throw protocolFailure(`stream ${id} was opened out of order`);
    this.#lastRemote = id;
    if (this.#closing || this.#streams.size >= (this.#options.maxStreams ?? MAX_STREAMS)) return this.#reset(id, RESET.refusedStream);
    const stream = this.#add(id, headers);
    if ((flags & FLAG.fin) !== 0) stream.receiveFin();
    this.#connection.write(controlFrame(TYPE.synReply, 0, id, this.#encoder.encode(new Map())));
    if (this.#options.onStream?.(stream) !== true) stream.destroy();
  }

  #add(id: number, headers: Headers): SpdyStream {
    const stream = new SpdyStream(this, id, headers);
    stream.on('error', () => {}); // Told to whoever reads or writes it; a session does not fall with a stream.
    this.#streams.set(id, stream);
    return stream;
  }

  #settleReply(id: number, failure?: Error): void {
    const waiting = this.#replies.get(id);
    this.#replies.delete(id);
    if (failure === undefined) waiting?.resolve();
    else waiting?.reject(failure);
  }

  #reset(id: number, status: number): void {
    if (!this.#connection.writable) return;
    this.#connection.write(controlFrame(TYPE.reset, 0, id, status));
  }

  #pause(): void {
    this.#connection.pause();
    // Of a kind that every peer answers, and that shows a connection that is no more.
    const ping = controlFrame(TYPE.ping, 0, this.#options.role === 'server' ? 2 : 1);
    this.#probe = setInterval(() => {
      if (this.#connection.writable) this.#connection.write(ping);
    }, PROBE_EVERY_MS);
  }

  #resume(): void {
    clearInterval(this.#probe);
    if (this.#handling === undefined) this.#connection.resume();
  }

  /** The peer has closed its side, and with it all streams that it has not ended; what it said before counts. */
  #onEnd(): void {
    if (this.#handling !== undefined) void this.#handling.then(() => this.#onEnd());
    else if (!this.#closing) this.destroy();
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : protocolFailure(String(error));
    this.#closing = true;
    if (this.#connection.writable) this.#connection.end(controlFrame(TYPE.goAway, 0, this.#lastRemote, 1));
    this.#connection.destroy();
  }

  #release(): void {
    clearInterval(this.#probe);
    this.#closing = true;
    this.#decoder.close();
    for (const stream of Array.from(this.#streams.values())) stream.receiveEnd(gone());
    for (const id of Array.from(this.#replies.keys())) this.#settleReply(id, gone());
  }
}

function gone(): Failure {
  return new Failure('Unavailable', 'the connection has ended', { code: 'ECONNRESET' });
}
