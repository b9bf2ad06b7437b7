import type { Duplex } from 'node:stream';
import { Failure, codeOf, textOf } from '../../errors/index.ts';
import { OPCODE, type WebSocketFrame, WebSocketReader, frameHead } from './frames.ts';

export interface WebSocketOptions {
  readonly role: 'client' | 'server';
  readonly head?: Buffer;
  /** A piece of a message, in order. */
  readonly onMessage: (bytes: Buffer, first: boolean, last: boolean) => void;
}

const LINGER_MS = 5000;
const PROBE_EVERY_MS = 5000;
const MAX_REASON = 123;
const CLOSE = { normal: 1000, protocolError: 1002, internalError: 1011 } as const;

/** One WebSocket (RFC 6455, no extensions) over a connection whose upgrade is done. */
export class WebSocketConnection {
  /** Settles when the connection has closed; with the reason if that was not orderly. */
  readonly closed: Promise<Error | undefined>;
  readonly #connection: Duplex;
  readonly #options: WebSocketOptions;
  readonly #reader: WebSocketReader;
  #closing = false;
  #failure: Error | undefined;
  #probe: NodeJS.Timeout | undefined;

  constructor(connection: Duplex, options: WebSocketOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#reader = new WebSocketReader(options.role === 'server');
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    this.closed = promise;
    connection.on('error', (error) => (this.#failure ??= error));
    connection.on('end', () => {
      if (!this.#closing) this.destroy();
    });
    connection.once('close', () => {
      clearInterval(this.#probe);
      this.#closing = true;
      resolve(this.#failure);
    });
    if (options.head !== undefined && options.head.length > 0) connection.unshift(options.head);
    connection.on('data', (bytes: Buffer) => this.#receive(bytes));
    connection.resume(); // Whoever read the answer to the upgrade has stopped it.
  }

  get writable(): boolean {
    return !this.#closing && this.#connection.writable;
  }

  /** One message of these parts. `done` when it has been handed to the kernel. */
  send(kind: 'text' | 'binary', parts: readonly Buffer[], done?: (error?: Error | null) => void): void {
    if (!this.writable) return done?.(new Failure('Unavailable', 'the connection has ended', { code: 'ECONNRESET' }));
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    this.#connection.cork();
    this.#connection.write(frameHead(OPCODE[kind], length, this.#options.role === 'client'));
    for (const part of parts.slice(0, -1)) this.#connection.write(part);
    this.#connection.write(parts.at(-1) ?? Buffer.alloc(0), done);
    this.#connection.uncork();
  }

  /** No more pieces until `resume`; whether the peer is still there is asked meanwhile. */
  pause(): void {
    if (this.#probe !== undefined) return;
    this.#connection.pause();
    this.#probe = setInterval(() => this.#control(OPCODE.ping, Buffer.alloc(0)), PROBE_EVERY_MS);
  }

  resume(): void {
    clearInterval(this.#probe);
    this.#probe = undefined;
    this.#connection.resume();
  }

  /** An orderly end: the peer has time to close its side. */
  close(): void {
    this.#end(CLOSE.normal, '');
  }

  destroy(reason?: Error): void {
    this.#failure ??= reason;
    this.#closing = true;
    this.#connection.destroy();
  }

  #receive(bytes: Buffer): void {
    if (this.#closing) return;
    try {
      for (const frame of this.#reader.read(bytes)) {
        this.#handle(frame);
        if (this.#closing) return;
      }
    } catch (error) {
      this.#failure ??= error instanceof Error ? error : new Failure('Internal', String(error));
      this.#end(codeOf(error) === 'protocol' ? CLOSE.protocolError : CLOSE.internalError, textOf(error));
    }
  }

  #handle(frame: WebSocketFrame): void {
    switch (frame.type) {
      case 'message':
        return this.#options.onMessage(frame.bytes, frame.first, frame.last);
      case 'ping':
        return this.#control(OPCODE.pong, frame.bytes);
      case 'pong':
        return;
      case 'close':
        return this.#end(frame.bytes.length >= 2 ? frame.bytes.readUInt16BE(0) : CLOSE.normal, '');
      default:
        return frame satisfies never;
    }
  }

  #control(opcode: number, payload: Buffer): void {
    if (!this.writable) return;
    this.#connection.write(Buffer.concat([frameHead(opcode, payload.length, this.#options.role === 'client'), payload]));
  }

  #end(code: number, reason: string): void {
    if (this.#closing) return;
    const text = Buffer.from(reason).subarray(0, MAX_REASON);
    const payload = Buffer.alloc(2 + text.length);
    payload.writeUInt16BE(code, 0);
    text.copy(payload, 2);
    this.#control(OPCODE.close, payload);
    this.#closing = true;
    this.#connection.end();
    this.#connection.resume();
    const timer = setTimeout(() => this.#connection.destroy(), LINGER_MS).unref();
    this.#connection.once('close', () => clearTimeout(timer));
  }
}
