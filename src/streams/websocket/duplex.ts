import { Duplex } from 'node:stream';
import { WebSocketConnection } from './connection.ts';

/** A WebSocket whose binary messages are a byte stream, their borders without meaning: what tunnels another protocol. */
export class WebSocketDuplex extends Duplex {
  readonly #socket: WebSocketConnection;

  constructor(connection: Duplex, role: 'client' | 'server', head?: Buffer) {
    super({ allowHalfOpen: true });
    this.#socket = new WebSocketConnection(connection, {
      role,
      ...(head === undefined ? {} : { head }),
      onMessage: (bytes) => {
        if (bytes.length > 0 && !this.push(bytes)) this.#socket.pause();
      },
    });
    void this.#socket.closed.then((error) => {
      if (error === undefined) this.push(null);
      else this.destroy(error);
    });
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.send('binary', [chunk], done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.close();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy(error ?? undefined);
    done(error);
  }
}
