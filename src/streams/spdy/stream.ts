import { Duplex } from 'node:stream';
import { Failure } from '../../errors/index.ts';
import type { Headers } from './headers.ts';

/** What a stream asks of its session. */
export interface StreamOwner {
  /** `done` when the last of them has been handed to the kernel. */
  sendData(stream: number, chunks: readonly Buffer[], done: (error?: Error | null) => void): void;
  sendFin(stream: number, done: (error?: Error | null) => void): void;
  sendReset(stream: SpdyStream): void;
  /** The reader has no room, or has it again: the session stops, or goes on, reading its connection. */
  setBlocked(stream: SpdyStream, blocked: boolean): void;
  forget(stream: SpdyStream): void;
}

/** Bytes that may wait for the reader of one stream before the whole connection waits: Kubernetes clients know no windows. */
const WAITING = 128 * 1024;

/**
 * One stream of a session: a duplex whose sides end on their own. Destroyed before its end it is reset; a reset by the peer is an
 * error with code `ECONNRESET`.
 */
export class SpdyStream extends Duplex {
  readonly id: number;
  readonly headers: Headers;
  readonly #owner: StreamOwner;
  #remoteEnded = false;
  #wasReset = false;

  constructor(owner: StreamOwner, id: number, headers: Headers) {
    super({ allowHalfOpen: true, readableHighWaterMark: WAITING, writableHighWaterMark: WAITING, autoDestroy: true });
    this.#owner = owner;
    this.id = id;
    this.headers = headers;
  }

  /** Data from the peer. */
  receive(bytes: Buffer, fin: boolean): void {
    if (this.#remoteEnded || this.destroyed) return;
    if (bytes.length > 0 && !this.push(bytes)) this.#owner.setBlocked(this, true);
    if (fin) this.receiveFin();
  }

  receiveFin(): void {
    if (this.#remoteEnded || this.destroyed) return;
    this.#remoteEnded = true;
    this.push(null);
  }

  receiveReset(): void {
    this.#wasReset = true;
    // A side that had ended already cannot be reset for its reader.
    // What had come to its end can still be read.
    if (this.#remoteEnded) this.end();
    else this.destroy(new Failure('Canceled', 'stream was reset by the peer', { code: 'ECONNRESET' }));
  }

  /** The connection has gone: what had come to its end can still be read, what had not is an error. */
  receiveEnd(error: Error): void {
    if (this.#remoteEnded) this.end();
    else this.destroy(error);
  }

  override _read(): void {
    this.#owner.setBlocked(this, false);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#wasReset) done();
    else this.#owner.sendData(this.id, [chunk], done);
  }

  override _writev(chunks: { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    if (this.#wasReset) done();
    else
      this.#owner.sendData(
        this.id,
        chunks.map(({ chunk }) => chunk),
        done,
      );
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#wasReset) done();
    else this.#owner.sendFin(this.id, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#wasReset && !(this.#remoteEnded && this.writableFinished)) this.#owner.sendReset(this);
    this.#owner.forget(this);
    done(error);
  }
}
