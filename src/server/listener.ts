import { chmod, mkdir, rm, stat } from 'node:fs/promises';
import { type IncomingMessage, type Server as HttpServer, type ServerResponse, createServer as createHttpServer } from 'node:http';
import { type Server as NetServer, type Socket, connect, createServer } from 'node:net';
import { dirname } from 'node:path';
import { Failure, codeOf, textOf } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';

/** A client that says nothing in that time is let go [C73]. */
const FIRST_BYTES_TIMEOUT_MS = 5000;
const HTTP2_PREFACE = Buffer.from('PRI * HTTP/2.0');

/** One unix socket for two protocols: gRPC (HTTP/2) and the inspect API (HTTP/1), told apart by the first bytes [C73]. */
export class Listener {
  readonly #path: string;
  readonly #log: Logger;
  readonly #net: NetServer;
  readonly #http: HttpServer;
  /** Those that are not gRPC's: whoever serves a gRPC connection lets its calls end. */
  readonly #sockets = new Set<Socket>();

  constructor(
    path: string,
    serveGrpc: (socket: Socket) => void,
    inspect: (request: IncomingMessage, response: ServerResponse) => void,
    log: Logger,
  ) {
    this.#path = path;
    this.#log = log;
    this.#http = createHttpServer(inspect);
    this.#net = createServer({ pauseOnConnect: false }, (socket) => this.#route(socket, serveGrpc));
  }

  /** Fails with FailedPrecondition while another daemon answers on the socket; a dead daemon's file is replaced. */
  async listen(): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o755 });
    await this.refuseIfInUse();
    await rm(this.#path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#net.once('error', (error) => reject(listenFailure(this.#path, error)));
      this.#net.listen(this.#path, resolve);
    });
    await chmod(this.#path, 0o660);
  }

  /** No new connections; the socket file goes. Settles when the last connection has closed, gRPC's too. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => void this.#net.close(() => resolve()));
    this.#http.closeAllConnections();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #route(socket: Socket, serveGrpc: (socket: Socket) => void): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', (error) => this.#log.debug(`Connection failed: ${textOf(error)}`));
    const timer = setTimeout(() => socket.destroy(), FIRST_BYTES_TIMEOUT_MS);
    let first = Buffer.alloc(0);
    const look = () => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      first = Buffer.concat([first, chunk]);
      const known = Math.min(first.length, HTTP2_PREFACE.length);
      const isHttp2 = first.subarray(0, known).equals(HTTP2_PREFACE.subarray(0, known));
      if (isHttp2 && known < HTTP2_PREFACE.length) return;
      clearTimeout(timer);
      socket.off('readable', look);
      socket.unshift(first);
      if (isHttp2) {
        this.#sockets.delete(socket);
        serveGrpc(socket);
      } else this.#http.emit('connection', socket);
    };
    socket.on('readable', look);
    socket.once('end', () => clearTimeout(timer));
    socket.once('close', () => clearTimeout(timer));
  }

  /** Fails while another daemon answers. Asked before anything is touched, and again by `listen`. */
  async refuseIfInUse(): Promise<void> {
    if (!(await answers(this.#path))) return;
    throw new Failure('FailedPrecondition', `already existing connection on ${this.#path}`, {
      code: 'EADDRINUSE',
      advice: `Another crio is running with this socket. Stop it first, or give this one a socket of its own with --listen (and then roots of its own with --root and --runroot).`,
    });
  }
}

function listenFailure(path: string, error: Error): Failure {
  return new Failure('FailedPrecondition', `failed to listen: listen unix ${path}: ${textOf(error)}`, {
    cause: error,
    advice: 'Check that the directory exists and can be written, and that the path has at most 107 bytes.',
  });
}

async function answers(path: string): Promise<boolean> {
  try {
    if (!(await stat(path)).isSocket()) {
      throw new Failure('FailedPrecondition', `failed to listen: ${path} exists and is no socket`, {
        advice: 'Remove the file, or listen elsewhere with --listen.',
      });
    }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
  return await new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
