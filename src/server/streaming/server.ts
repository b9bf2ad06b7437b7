import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import { type AddressInfo, type Socket, isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { execFailureText } from '../../containers/index.ts';
import { Failure, codeOf, textOf } from '../../errors/index.ts';
import type { Logger } from '../../log/index.ts';
import { Certificates, type TlsSettings } from './certificates.ts';
import { commandOverSpdy } from './command-spdy.ts';
import { commandOverWebSocket } from './command-websocket.ts';
import { TUNNEL_PROTOCOL, forwardOverSpdy, forwardOverTunnel } from './forward-spdy.ts';
import { forwardOverWebSocket } from './forward-websocket.ts';
import { Tokens } from './tokens.ts';
import type { CommandRequest, CommandSession, ForwardRequest, Outcome, StreamingBackend, StreamingRequest } from './types.ts';
import { type Upgraded, refuse, wants } from './upgrade.ts';

export interface StreamingSettings {
  /** An IP address, or '' for all [E29]. */
  readonly address: string;
  /** 0: whichever is free. */
  readonly port: number;
  /** Milliseconds without a byte in either direction after which a connection is closed [E31]. */
  readonly idleTimeoutMs: number;
  /** Milliseconds within which a client must have created its streams [E32]. */
  readonly creationTimeoutMs: number;
  readonly tls?: TlsSettings;
}

/** A request's head must have come by then. */
const HEAD_TIMEOUT_MS = 10_000;
/** Connections that have not asked for anything: when one more comes, the oldest goes. */
const MOST_WAITING = 512;
const KEEP_ALIVE_MS = 30_000;
const MAX_HEAD = 16 * 1024;

/**
 * The server that Exec, Attach and PortForward send clients to [E25–E47]: a token in the path says what they may do, once; then the
 * connection speaks SPDY/3.1 or WebSocket. A connection's misfortune is its own: it is closed, with one line in the log.
 */
export class StreamingServer {
  readonly #settings: StreamingSettings;
  readonly #backend: StreamingBackend;
  readonly #log: Logger;
  #http: Server | undefined;
  #certificates: Certificates | undefined;
  readonly #tokens = new Tokens<StreamingRequest>();
  /** In the order in which they came, by the address of the client: under TLS a connection has two sockets. */
  readonly #waiting = new Map<string, Socket>();
  readonly #open = new Set<Duplex>();

  constructor(settings: StreamingSettings, backend: StreamingBackend, log: Logger) {
    this.#settings = settings;
    this.#backend = backend;
    this.#log = log;
  }

  /** Fails with FailedPrecondition when the address cannot be had [E38], with InvalidArgument when the certificate cannot be served. */
  async listen(): Promise<void> {
    const { address, port } = this.#settings;
    const host = isIP(address) === 0 ? undefined : address;
    const http = (this.#http = await this.#create());
    http.on('connection', (socket: Socket) => this.#admit(socket));
    http.on('request', (message: IncomingMessage, response: ServerResponse) => this.#answer(message, response));
    http.on('upgrade', (message: IncomingMessage, socket: Socket, head: Buffer) => this.#upgrade(message, socket, head));
    http.on('clientError', (error: Error, socket: Duplex) => {
      this.#log.debug(`Streaming client sent no HTTP: ${textOf(error)}`);
      socket.destroy();
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    http.once('error', (error) => reject(listenFailure(address, port, error)));
    http.listen({ port, ...(host === undefined ? {} : { host }) }, resolve);
    await promise;
    http.on('error', (error) => this.#log.error(`Streaming server: ${textOf(error)}`));
  }

  async #create(): Promise<Server> {
    const limits = {
      maxHeaderSize: MAX_HEAD,
      requestTimeout: HEAD_TIMEOUT_MS,
      headersTimeout: HEAD_TIMEOUT_MS,
      connectionsCheckingInterval: 1000,
    };
    const { tls } = this.#settings;
    if (tls === undefined) return createServer(limits);
    const certificates = (this.#certificates = new Certificates(tls, this.#log));
    const [{ createServer: createTlsServer }, context] = await Promise.all([import('node:https'), certificates.load()]);
    const verify = { requestCert: tls.ca !== '', rejectUnauthorized: tls.ca !== '' };
    const server = createTlsServer({ ...limits, ...context, ...verify, handshakeTimeout: HEAD_TIMEOUT_MS });
    server.on('tlsClientError', (error: Error) => this.#log.debug(`Streaming client spoke no TLS: ${textOf(error)}`));
    certificates.watch((renewed) => server.setSecureContext(renewed));
    return server;
  }

  /** No new connections; those that are there are cut off, and their commands with them. */
  async close(): Promise<void> {
    this.#certificates?.close();
    const http = this.#http;
    if (http?.listening !== true) return;
    const closed = new Promise<void>((resolve) => void http.close(() => resolve()));
    http.closeAllConnections();
    for (const socket of this.#waiting.values()) socket.destroy();
    for (const socket of this.#open) socket.destroy();
    await closed;
  }

  /** Where a client finds what it has asked for, once, within a minute. */
  urlFor(request: StreamingRequest): string {
    const listening = this.#http?.address() as AddressInfo | null | undefined;
    const port = listening?.port ?? this.#settings.port;
    const { address, tls } = this.#settings;
    const host = isIP(address) === 0 ? '' : isIP(address) === 6 ? `[${address}]` : address;
    return `${tls === undefined ? 'http' : 'https'}://${host}:${port}/${request.kind}/${this.#tokens.issue(request)}`;
  }

  #admit(socket: Socket): void {
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.setNoDelay(true);
    const name = nameOf(socket);
    this.#waiting.set(name, socket);
    socket.once('close', () => {
      if (this.#waiting.get(name) === socket) this.#waiting.delete(name);
    });
    const [oldest] = this.#waiting.values();
    if (this.#waiting.size > MOST_WAITING) oldest?.destroy();
  }

  /** Whatever is no upgrade. */
  #answer(message: IncomingMessage, response: ServerResponse): void {
    const found = pathOf(message);
    const status = found === undefined ? 404 : message.method === 'GET' || message.method === 'POST' ? 400 : 405;
    const text =
      status === 400
        ? 'unable to upgrade: missing upgrade headers in request'
        : status === 405
          ? '405: Method Not Allowed'
          : '404: Page Not Found';
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' }).end(`${text}\n`);
    if (found !== undefined && status === 400) this.#tokens.take(found.token);
  }

  #upgrade(message: IncomingMessage, socket: Socket, head: Buffer): void {
    this.#waiting.delete(nameOf(socket));
    const found = pathOf(message);
    if (message.method !== 'GET' && message.method !== 'POST') return refuse(socket, 405, 'Method Not Allowed', '405: Method Not Allowed');
    const request = found === undefined ? undefined : this.#tokens.take(found.token);
    if (found === undefined || request === undefined || request.kind !== found.kind)
      return refuse(socket, 404, 'Not Found', '404 page not found');
    const protocol = wants(message, 'websocket') ? 'websocket' : wants(message, 'spdy/3.1') ? 'spdy' : undefined;
    if (protocol === undefined) {
      return refuse(
        socket,
        400,
        'Bad Request',
        `unable to upgrade: missing upgrade headers in request: ${JSON.stringify(message.headers.upgrade ?? '')}`,
      );
    }
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    socket.setTimeout(this.#settings.idleTimeoutMs, () => {
      this.#log.info(`Streaming connection of ${request.kind} had nothing to say for ${this.#settings.idleTimeoutMs} ms, closing it`);
      socket.destroy();
    });
    const upgraded: Upgraded = {
      socket,
      head,
      creationTimeoutMs: this.#settings.creationTimeoutMs,
      ended: (error) => this.#ended(request, error),
    };
    if (request.kind === 'portforward') this.#forward(protocol, message, upgraded, request);
    else void this.#command(protocol, message, upgraded, request);
  }

  #ended(request: StreamingRequest, error: Error | undefined): void {
    if (error === undefined) return;
    const text = `Streaming connection of ${request.kind} ended: ${textOf(error)}`;
    // Who closes with something unread resets, as clients do when they have seen enough.
    if (['ECONNRESET', 'EPIPE'].includes(codeOf(error) ?? '')) this.#log.debug(text);
    else this.#log.info(text);
  }

  #forward(protocol: 'websocket' | 'spdy', message: IncomingMessage, upgraded: Upgraded, request: ForwardRequest): void {
    const dial = (port: number) => this.#backend.dial(request.podId, port);
    if (protocol === 'spdy') forwardOverSpdy(message, upgraded, request, dial, this.#log);
    else if ((message.headers['sec-websocket-protocol'] ?? '').includes(TUNNEL_PROTOCOL))
      forwardOverTunnel(message, upgraded, request, dial, this.#log);
    else forwardOverWebSocket(message, upgraded, request, dial);
  }

  async #command(protocol: 'websocket' | 'spdy', message: IncomingMessage, upgraded: Upgraded, request: CommandRequest): Promise<void> {
    try {
      const session = await (protocol === 'spdy'
        ? commandOverSpdy(message, upgraded, request)
        : commandOverWebSocket(message, upgraded, request));
      await session?.finish(await this.#run(request, session));
    } catch (error) {
      this.#log.debug(`Streaming connection of ${request.kind}: ${textOf(error)}`);
    }
  }

  async #run(request: CommandRequest, { streams }: CommandSession): Promise<Outcome> {
    try {
      if (request.kind === 'attach') {
        await this.#backend.attach(request.containerId, streams);
        return { kind: 'success' };
      }
      const code = await this.#backend.exec(request.containerId, request.command, request.tty, streams);
      return code === 0 ? { kind: 'success' } : { kind: 'exit', code };
    } catch (error) {
      this.#log.info(`${request.kind} in container ${request.containerId} failed: ${textOf(error)}`);
      return { kind: 'failure', text: request.kind === 'exec' ? execFailureText(error) : `error attaching to container: ${textOf(error)}` };
    }
  }
}

function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? '?'} ${remotePort ?? '?'}`;
}

function listenFailure(address: string, port: number, error: Error): Failure {
  return new Failure(
    'FailedPrecondition',
    `Failed to start streaming server: listen tcp ${address}:${port}: ${codeOf(error) ?? textOf(error)}`,
    {
      cause: error,
      advice: 'Set stream_address to an address of this machine, and stream_port to a free port, or to 0 for any.',
    },
  );
}

function pathOf(message: IncomingMessage): { readonly kind: string; readonly token: string } | undefined {
  const [, kind, token] = /^\/(exec|attach|portforward)\/([A-Za-z0-9_-]+)(?:\?.*)?$/.exec(message.url ?? '') ?? [];
  return kind === undefined || token === undefined ? undefined : { kind, token };
}
