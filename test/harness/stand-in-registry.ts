import { existsSync, readFileSync } from 'node:fs';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { RegistryStorage } from './registry-storage.ts';

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

/** Answers a request itself and says so, or leaves it to the stand-in. */
export type Interception = (request: SeenRequest, response: ServerResponse) => boolean | Promise<boolean>;

/**
 * A registry that does as it is told: it serves a storage directory like docker-registry does, unless the test's
 * interception answers with something else: lies, half of a blob, silence, a redirect, 401.
 */
export class StandInRegistry {
  readonly storage: RegistryStorage;
  readonly seen: SeenRequest[] = [];
  intercept: Interception = () => false;
  readonly #server: Server;

  constructor(dir: string, tls?: { readonly cert: string; readonly key: string; readonly ca?: string }) {
    this.storage = new RegistryStorage(dir);
    const listener = (request: IncomingMessage, response: ServerResponse) => void this.#answer(request, response);
    const client = tls?.ca === undefined ? {} : { ca: tls.ca, requestCert: true, rejectUnauthorized: true };
    this.#server = tls === undefined ? createServer(listener) : createTlsServer({ ...tls, ...client }, listener);
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get host(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `127.0.0.1:${port}`;
  }

  /** Paths that were asked for, of blobs or manifests for instance. */
  asked(part: string): string[] {
    return this.seen.filter(({ path }) => path.includes(part)).map(({ path }) => path);
  }

  /** A blob's bytes as they are stored. */
  blob(digest: string): Buffer {
    return readFileSync(this.storage.blobFile(digest));
  }

  forget(): void {
    this.seen.length = 0;
    this.intercept = () => false;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen = { method: request.method ?? '', path: request.url ?? '', headers: request.headers };
    this.seen.push(seen);
    if (await this.intercept(seen, response)) return;
    const found = /^\/v2\/(.+)\/(manifests|blobs)\/([^/?]+)$/.exec(seen.path);
    if (found === null) return void response.writeHead(seen.path === '/v2/' ? 200 : 404).end();
    const [, repository = '', kind, what = ''] = found;
    const digest = what.includes(':') ? what : this.#digestOf(repository, what);
    const file = digest === undefined ? undefined : this.storage.blobFile(digest);
    if (file === undefined || !existsSync(file)) return refuse(response, kind === 'blobs' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN');
    const bytes = readFileSync(file);
    if (kind === 'manifests') {
      const { mediaType } = JSON.parse(bytes.toString('utf8')) as { mediaType?: string };
      return void response.writeHead(200, { 'Content-Type': mediaType ?? 'application/json', 'Content-Length': bytes.length }).end(bytes);
    }
    sendBlob(response, bytes, seen.headers.range);
  }

  #digestOf(repository: string, tag: string): string | undefined {
    const link = join(this.storage.dir, 'docker/registry/v2/repositories', repository, '_manifests/tags', tag, 'current/link');
    return existsSync(link) ? readFileSync(link, 'utf8') : undefined;
  }
}

/** A blob or, where a range is asked for, the rest of it. With `keep` only so many bytes of that, then the end of the connection. */
export function sendBlob(response: ServerResponse, bytes: Buffer, range?: string, keep?: number): void {
  const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
  const rest = bytes.subarray(start);
  const headers = {
    'Content-Length': rest.length,
    ...(start === 0 ? {} : { 'Content-Range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
  };
  response.writeHead(start === 0 ? 200 : 206, headers);
  if (keep === undefined) response.end(rest);
  else response.write(rest.subarray(0, keep), () => response.destroy());
}

export function refuse(response: ServerResponse, code: string, status = 404): void {
  const message = code.toLowerCase().replaceAll('_', ' ');
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify({ errors: [{ code, message }] }));
}
