import { Readable, Writable } from 'node:stream';
import { Failure } from '../../errors/index.ts';
import { WebSocketConnection } from '../../streams/index.ts';
import type { Upgraded } from './upgrade.ts';

const ASCII_ZERO = 0x30;
/** Of version 5: the rest of the message names a channel that the client will not write any more. */
const CLOSE_CHANNEL = 255;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

export interface ChannelOptions {
  /** Messages are text: a digit, then base64. */
  readonly base64: boolean;
  /** Version 5: a channel can be closed by the client. */
  readonly closable: boolean;
}

/** What comes in on a channel. */
export interface ChannelSink {
  /** False: no more, until `Channels.resume`. */
  receive(bytes: Buffer): boolean;
  end(): void;
}

/**
 * Many streams in one WebSocket: the first byte of a message says whose it is [E43]. A stream whose reader has no room stops
 * the whole connection, as there is nothing else to stop.
 */
export class Channels {
  readonly socket: WebSocketConnection;
  readonly #options: ChannelOptions;
  readonly #sinks = new Map<number, ChannelSink>();
  #current: number | undefined;
  /** Of base64: what has come of a group of four. */
  #kept = '';

  constructor(connection: Upgraded, options: ChannelOptions) {
    this.#options = options;
    this.socket = new WebSocketConnection(connection.socket, {
      role: 'server',
      head: connection.head,
      onMessage: (bytes, first, last) => this.#receive(bytes, first, last),
    });
    void this.socket.closed.then((error) => {
      connection.ended(error);
      for (const sink of this.#sinks.values()) sink.end();
    });
  }

  /** Where the messages of a channel go; those of others are thrown away. */
  on(channel: number, sink: ChannelSink): void {
    this.#sinks.set(channel, sink);
  }

  /** The readable side of a channel. */
  readable(channel: number): Readable {
    const stream = new Readable({ read: () => this.socket.resume() });
    this.on(channel, {
      receive: (bytes) => stream.push(bytes),
      end: () => void stream.push(null),
    });
    return stream;
  }

  /** The writable side of a channel. */
  writable(channel: number): Writable {
    const stream = new Writable({
      write: (chunk: Buffer, _, done) => this.send(channel, chunk, done),
      writev: (chunks, done) => this.send(channel, Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), done),
    });
    stream.on('error', () => {}); // The connection has gone, which its owner knows.
    return stream;
  }

  send(channel: number, chunk: Buffer, done?: (error?: Error | null) => void): void {
    if (this.#options.base64) this.socket.send('text', [Buffer.from(`${channel}${chunk.toString('base64')}`)], done);
    else this.socket.send('binary', [Buffer.of(channel), chunk], done);
  }

  #receive(bytes: Buffer, first: boolean, last: boolean): void {
    let rest = bytes;
    if (first) {
      this.#current = undefined;
      this.#kept = '';
    }
    if (this.#current === undefined) {
      const [byte] = rest;
      if (byte === undefined) return; // A message without even a channel, or its first byte is still to come.
      this.#current = this.#options.base64 ? byte - ASCII_ZERO : byte;
      rest = rest.subarray(1);
    }
    const data = this.#options.base64 ? this.#decode(rest, last) : rest;
    if (this.#current === CLOSE_CHANNEL && this.#options.closable) return this.#close(data);
    if (data.length > 0 && this.#sinks.get(this.#current)?.receive(data) === false) this.socket.pause();
  }

  #close(channels: Buffer): void {
    for (const channel of channels) this.#sinks.get(channel)?.end();
  }

  #decode(bytes: Buffer, last: boolean): Buffer {
    const text = this.#kept + bytes.toString('latin1');
    const whole = last ? text.length : text.length - (text.length % 4);
    this.#kept = text.slice(whole);
    const part = text.slice(0, whole);
    if (!BASE64.test(part)) throw new Failure('InvalidArgument', 'a message is not base64', { code: 'protocol' });
    return Buffer.from(part, 'base64');
  }
}
