import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { readFile } from 'node:fs/promises';
import { type SecureContext, createSecureContext } from 'node:tls';
import { Failure, textOf } from '../../errors/index.ts';
import type { NetworkTimeouts } from '../settings.ts';
import { discard } from './body.ts';
import { type Trust, withoutClient } from './certificates.ts';
import { dialFailure, shownUrl } from './dial-failure.ts';
import { proxyOnly, usesProxy } from './proxy.ts';

export interface HttpRequest {
  readonly url: URL;
  readonly method?: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  /** Sent to the URL's own host only; a redirect to another host goes without [a44]. */
  readonly authorization?: string | undefined;
  readonly body?: string;
  readonly trust: Trust;
  readonly signal?: AbortSignal | undefined;
}

export interface TransportSettings {
  readonly timeouts: NetworkTimeouts;
  readonly userAgent: string;
  /** HTTP_PROXY, HTTPS_PROXY and NO_PROXY count. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Bundles of the machine's root certificates; the first that exists counts. */
  readonly rootCertificateFiles: readonly string[];
}

const MAX_REDIRECTS = 10;
const IDLE_CONNECTION_MS = 30_000;
/** Trusts whose connections are kept; an evicted one's sockets end by their own idle timeout. */
const MAX_AGENTS = 32;

/**
 * HTTP/1.1 over connections that are kept and used again. Knows redirects, proxies, time limits and TLS; knows
 * nothing of registries. A failed connection is a Failure (Unavailable) whose code is the errno's name.
 */
export class Transport {
  readonly #settings: TransportSettings;
  readonly #agents = new Map<string, Promise<HttpAgent>>();
  #systemRoots: Promise<Buffer | undefined> | undefined;

  constructor(settings: TransportSettings) {
    this.#settings = settings;
  }

  get timeouts(): NetworkTimeouts {
    return this.#settings.timeouts;
  }

  /** Sends, follows redirects of a GET, answers with the header read and the body waiting. The caller reads or destroys it. */
  async exchange(request: HttpRequest): Promise<IncomingMessage> {
    let current = request;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const response = await this.#sendOnLiveConnection(current);
      const location = response.headers.location;
      const isRedirect = [301, 302, 303, 307, 308].includes(response.statusCode ?? 0) && location !== undefined;
      if (!isRedirect || (current.method ?? 'GET') !== 'GET') return response;
      discard(response);
      current = redirected(current, location);
    }
    throw new Failure('Unavailable', `Get "${shownUrl(request.url)}": stopped after ${MAX_REDIRECTS} redirects`, { code: 'REDIRECTS' });
  }

  /** Ends idle connections and those in use. */
  close(): void {
    for (const agent of this.#agents.values())
      void agent.then(
        (made) => made.destroy(),
        () => {},
      );
    this.#agents.clear();
  }

  /** A kept connection may have been closed by its server in the very moment that we used it: then once more. */
  async #sendOnLiveConnection(request: HttpRequest): Promise<IncomingMessage> {
    for (;;) {
      const attempt = await this.#send(request);
      if ('response' in attempt) return attempt.response;
      if (!attempt.wasReused) throw attempt.failure;
    }
  }

  async #send(request: HttpRequest): Promise<{ response: IncomingMessage } | { failure: unknown; wasReused: boolean }> {
    const isTls = request.url.protocol === 'https:';
    const agent = await this.#agent(request.trust, isTls, usesProxy(request.url, this.#settings.env));
    request.signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<{ response: IncomingMessage } | { failure: unknown; wasReused: boolean }>();
    const { connectMs, headerMs } = this.#settings.timeouts;
    const sent = (isTls ? httpsRequest : httpRequest)(request.url, {
      method: request.method ?? 'GET',
      agent,
      headers: {
        'User-Agent': this.#settings.userAgent,
        ...request.headers,
        ...(request.authorization === undefined ? {} : { Authorization: request.authorization }),
      },
    });
    const late = (doing: string, ms: number) => () =>
      sent.destroy(Object.assign(new Error(`${doing} took longer than ${ms / 1000} s`), { code: 'ETIMEDOUT' }));
    let timer = setTimeout(late('connecting', connectMs), connectMs);
    const waitForHeader = () => {
      clearTimeout(timer);
      timer = setTimeout(late('the answer', headerMs), headerMs);
    };
    const onAbort = () => sent.destroy();
    request.signal?.addEventListener('abort', onAbort, { once: true });
    const settle = () => {
      clearTimeout(timer);
      request.signal?.removeEventListener('abort', onAbort);
    };
    sent.once('socket', (socket) =>
      socket.connecting ? socket.once(isTls ? 'secureConnect' : 'connect', waitForHeader) : waitForHeader(),
    );
    sent.once('response', (response) => {
      settle();
      resolve({ response });
    });
    // Stays: a socket that breaks later emits on the request again, and the body's reader has the error anyway.
    sent.on('error', (error: NodeJS.ErrnoException) => {
      settle();
      if (request.signal?.aborted === true) return reject(request.signal.reason);
      const wasReused = sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      return resolve({ failure: dialFailure(error, request.url, request.method ?? 'GET'), wasReused });
    });
    sent.end(request.body);
    return await promise;
  }

  #agent(trust: Trust, isTls: boolean, proxied: boolean): Promise<HttpAgent> {
    const key = `${isTls ? `https ${trust.id}` : 'http'}${proxied ? ' by proxy' : ''}`;
    const known = this.#agents.get(key);
    if (known !== undefined) return known;
    const agent = this.#makeAgent(trust, isTls, proxied);
    agent.catch(() => this.#agents.delete(key));
    const oldest = this.#agents.keys().next().value;
    if (this.#agents.size >= MAX_AGENTS && oldest !== undefined) this.#agents.delete(oldest);
    this.#agents.set(key, agent);
    return agent;
  }

  async #makeAgent(trust: Trust, isTls: boolean, proxied: boolean): Promise<HttpAgent> {
    const options = {
      keepAlive: true,
      timeout: IDLE_CONNECTION_MS,
      scheduling: 'lifo' as const,
      ...(proxied ? { proxyEnv: proxyOnly(this.#settings.env) } : {}),
    };
    if (!isTls) return new HttpAgent(options);
    return new HttpsAgent({ ...options, secureContext: await this.#secureContext(trust), rejectUnauthorized: !trust.insecure });
  }

  /** One for all connections of a trust: parsing the roots takes longer than a handshake. */
  async #secureContext(trust: Trust): Promise<SecureContext> {
    const roots = trust.insecure ? undefined : await this.#roots();
    try {
      return createSecureContext({
        ca: [...(roots === undefined ? [] : [roots]), ...trust.ca],
        cert: trust.client.map((pair) => pair.cert),
        key: trust.client.map((pair) => pair.key),
        minVersion: 'TLSv1.2',
      });
    } catch (error) {
      throw new Failure('FailedPrecondition', `reading TLS certificates: ${textOf(error)}`, {
        cause: error,
        advice: 'Look at the files of this registry in certs.d.',
      });
    }
  }

  /** The machine's roots, as everything else on the node trusts them, not those compiled into Node. */
  #roots(): Promise<Buffer | undefined> {
    this.#systemRoots ??= firstReadable(this.#settings.rootCertificateFiles);
    return this.#systemRoots;
  }
}

async function firstReadable(files: readonly string[]): Promise<Buffer | undefined> {
  for (const file of files) {
    try {
      return await readFile(file);
    } catch {
      continue; // Each distribution has but one of them.
    }
  }
  return undefined;
}

function redirected(request: HttpRequest, location: string): HttpRequest {
  if (!URL.canParse(location, request.url))
    throw new Failure('Unavailable', `Get "${shownUrl(request.url)}": invalid redirect`, { code: 'REDIRECTS' });
  const url = new URL(location, request.url);
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new Failure('Unavailable', `Get "${shownUrl(request.url)}": refused to be redirected to ${url.protocol}`, { code: 'REDIRECTS' });
  if (url.protocol !== 'https:' && !(request.trust.insecure || request.url.protocol === 'http:'))
    throw new Failure('Unavailable', `Get "${shownUrl(request.url)}": refused to be redirected from TLS to ${url.protocol}//${url.host}`, {
      code: 'REDIRECTS',
      advice: `Set insecure = true for ${request.url.host} in registries.conf if that is meant.`,
    });
  if (url.origin === request.url.origin) return { ...request, url };
  return { ...request, url, authorization: undefined, trust: withoutClient(request.trust) };
}
