import { type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';

/**
 * A client of a gRPC stream that does not read what it is sent, so that the server's side fills up: grpc-js always reads ahead.
 * `read` reads all of it after all.
 */
export class UnreadStream {
  readonly #session: ClientHttp2Session;
  readonly #stream: ClientHttp2Stream;
  readonly #trailers: Promise<IncomingHttpHeaders>;

  constructor(socket: string, method: string, request: Buffer) {
    this.#session = connect('http://localhost', { createConnection: () => connectSocket(socket) });
    this.#stream = this.#session.request({ ':method': 'POST', ':path': method, 'content-type': 'application/grpc', te: 'trailers' });
    const { promise, resolve } = Promise.withResolvers<IncomingHttpHeaders>();
    this.#trailers = promise;
    this.#stream.once('trailers', resolve);
    const frame = Buffer.alloc(5 + request.length);
    frame.writeUInt32BE(request.length, 1);
    request.copy(frame, 5);
    this.#stream.end(frame);
  }

  /** Everything up to the end of the stream: how many bytes, and with which gRPC status it ended. */
  async read(): Promise<{ readonly bytes: number; readonly status: number; readonly message: string }> {
    let bytes = 0;
    for await (const chunk of this.#stream as AsyncIterable<Buffer>) bytes += chunk.length;
    const trailers = await this.#trailers;
    return { bytes, status: Number(trailers['grpc-status']), message: decodeURIComponent(String(trailers['grpc-message'])) };
  }

  close(): void {
    this.#session.destroy();
  }
}
