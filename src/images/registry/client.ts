import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure, codeOf, kindOf, wrap } from '../../errors/index.ts';
import type { Logger } from '../../log/index.ts';
import type { Credentials } from '../credentials.ts';
import { ACCEPTED_MANIFESTS, MAX_DOCUMENT_BYTES } from '../manifest.ts';
import { type ImageReference, repositoryOf } from '../reference.ts';
import { discard, readBody } from './body.ts';
import type { Trust } from './certificates.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { MAX_ERROR_BODY, refusal } from './responses.ts';
import type { Session } from './session.ts';
import { type TokenRequest, basic } from './tokens.ts';
import type { Transport } from './transport.ts';

export interface RegistryClientOptions {
  /** The repository, under the name that it has at this endpoint. */
  readonly reference: ImageReference;
  readonly credentials: Credentials | undefined;
  readonly trust: Trust;
  readonly session: Session;
  readonly transport: Transport;
  /** A mirror that is ill is left at once; only the last place to try is worth waiting for. */
  readonly retryServerErrors: boolean;
  /** `pull_progress_timeout` in milliseconds; 0 = off [I34]. */
  readonly progressTimeoutMs: number;
  readonly log: Logger;
}

/** Requests in all when the registry says 429 [I21], and when it says 502, 503 or 504. */
const MAX_RATE_LIMITED = 5;
const MAX_SERVER_ERRORS = 3;

/**
 * Talks to one repository of one registry. No ping goes before a request unless we have credentials and do not
 * know yet how the registry wants them: everything else the first real answer tells.
 */
export class RegistryClient {
  readonly #o: RegistryClientOptions;
  readonly #host: string;
  readonly #warned = new Set<string>();

  constructor(options: RegistryClientOptions) {
    this.#o = options;
    this.#host = options.reference.domain === 'docker.io' ? 'registry-1.docker.io' : options.reference.domain;
  }

  get host(): string {
    return this.#host;
  }

  get idleMs(): number {
    return this.#o.transport.timeouts.idleMs;
  }

  get progressTimeoutMs(): number {
    return this.#o.progressTimeoutMs;
  }

  /** How long a blob's connection may be silent: one more gets its chance before `pull_progress_timeout` is over. */
  get stallMs(): number {
    const { idleMs } = this;
    return this.progressTimeoutMs === 0 ? idleMs : Math.min(idleMs, this.progressTimeoutMs / 2);
  }

  get log(): Logger {
    return this.#o.log;
  }

  /** The manifest's bytes as they came, unverified, and its media type as the registry names it. At most 4 MiB [I42]. */
  async manifest(tagOrDigest: string, signal?: AbortSignal): Promise<{ bytes: Buffer; contentType: string }> {
    const accept = { Accept: ACCEPTED_MANIFESTS.join(', ') };
    const response = await this.#get(`manifests/${tagOrDigest}`, accept, signal);
    if (response.statusCode !== 200)
      throw wrap(`reading manifest ${tagOrDigest} in ${repositoryOf(this.#o.reference)}`, await this.#refusalOf(response, signal));
    const bytes = await readBody(response, MAX_DOCUMENT_BYTES, this.idleMs, signal);
    return { bytes, contentType: (response.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '' };
  }

  /** Starts a blob's download at `start`, up to `end` (exclusive) or to its own. Fails with `fetching blob: …` for every status but 200 and 206. */
  async blob(
    digest: string,
    { start, end }: { readonly start: number; readonly end?: number },
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const isWhole = start === 0 && end === undefined;
    const range: Record<string, string> = isWhole ? {} : { Range: `bytes=${start}-${end === undefined ? '' : end - 1}` };
    const response = await this.#get(`blobs/${digest}`, range, signal);
    if (response.statusCode === 200 || (!isWhole && response.statusCode === 206)) return response;
    throw wrap('fetching blob', await this.#refusalOf(response, signal));
  }

  /** One GET below the repository: scheme, authorization, rate limits and passing illness are settled here. */
  async #get(path: string, headers: Readonly<Record<string, string>>, signal: AbortSignal | undefined): Promise<IncomingMessage> {
    const full = `/v2/${this.#o.reference.path}/${path}`;
    let delay = this.#o.transport.timeouts.backoffMs;
    for (let attempt = 1; ; attempt++) {
      const response = await this.#authorized(full, headers, signal);
      const status = response.statusCode ?? 0;
      const isIll = status === 502 || status === 503 || status === 504;
      const attempts = status === 429 ? MAX_RATE_LIMITED : isIll && this.#o.retryServerErrors ? MAX_SERVER_ERRORS : 1;
      if (attempt >= attempts) return response;
      discard(response);
      const wait = Math.min(retryAfter(response) ?? delay, this.#o.transport.timeouts.maxBackoffMs);
      this.#o.log.info(`Registry ${this.#host} answered ${status}, asking again in ${wait} ms`);
      await sleep(wait, undefined, signal === undefined ? {} : { signal });
      delay *= 2;
    }
  }

  async #authorized(path: string, headers: Readonly<Record<string, string>>, signal: AbortSignal | undefined): Promise<IncomingMessage> {
    const { session, credentials } = this.#o;
    if (credentials !== undefined && session.challenges === undefined) await this.#ping(signal);
    const first = await this.#send(path, headers, await this.#authorization([], signal), signal);
    if (first.statusCode !== 401) return first;
    const asked = parseChallenges(first.headers['www-authenticate']);
    const scopes = insufficientScopes(asked);
    const before = session.challenges;
    // Some registries name no challenge here, only at /v2/.
    if (asked.length === 0) await this.#ping(signal);
    else session.challenges = asked;
    if (!this.#canAnswerBetter(before === undefined)) return first;
    discard(first);
    for (const challenge of session.challenges ?? []) session.tokens.drop(this.#tokenRequest(challenge, scopes));
    return await this.#send(path, headers, await this.#authorization(scopes, signal), signal);
  }

  /** A second try helps where a token can be asked for anew, or where we had not known that a password is wanted. */
  #canAnswerBetter(isFirstAnswer: boolean): boolean {
    const { session, credentials } = this.#o;
    const hasPassword = credentials !== undefined && credentials.username !== '';
    return (session.challenges ?? []).some(({ scheme }) => scheme === 'bearer' || (scheme === 'basic' && isFirstAnswer && hasPassword));
  }

  /** Learns scheme and challenges from `GET /v2/` [I18]. Fails with `pinging container registry %s: …`. */
  async #ping(signal: AbortSignal | undefined): Promise<void> {
    const response = await this.#send('/v2/', {}, undefined, signal);
    const status = response.statusCode ?? 0;
    if (status !== 200 && status !== 401) throw wrap(`pinging container registry ${this.#host}`, await this.#refusalOf(response, signal));
    discard(response);
    this.#o.session.challenges = status === 200 ? [] : parseChallenges(response.headers['www-authenticate']);
  }

  /** HTTPS; plain HTTP only for an insecure registry whose HTTPS failed, and then until the session ends [I18]. */
  async #send(
    path: string,
    headers: Readonly<Record<string, string>>,
    authorization: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<IncomingMessage> {
    const { session, trust, transport } = this.#o;
    const send = (scheme: 'https' | 'http') => {
      const text = `${scheme}://${this.#host}${path}`;
      if (!URL.canParse(text)) throw new Failure('InvalidArgument', `${JSON.stringify(this.#host)} is no host with a port up to 65535`);
      const url = new URL(text);
      const all = { 'Docker-Distribution-API-Version': 'registry/2.0', ...headers };
      return transport.exchange({ url, headers: all, authorization, trust, signal });
    };
    // As it was when this request went out: another request may learn the scheme meanwhile.
    const known = session.scheme;
    try {
      const response = await send(known ?? 'https').catch(async (error: unknown) => {
        if (!trust.insecure || known !== undefined || signal?.aborted === true) throw error;
        const plain = await send('http');
        session.scheme = 'http';
        return plain;
      });
      session.scheme ??= 'https';
      this.#logWarning(response);
      return response;
    } catch (error) {
      if (signal?.aborted === true || kindOf(error) !== 'Unavailable' || codeOf(error) === 'REDIRECTS') throw error;
      session.scheme = undefined;
      throw wrap(`pinging container registry ${this.#host}`, error);
    }
  }

  async #authorization(extraScopes: readonly string[], signal: AbortSignal | undefined): Promise<string | undefined> {
    const { session, credentials } = this.#o;
    for (const challenge of session.challenges ?? []) {
      if (challenge.scheme === 'basic') {
        if (credentials === undefined || credentials.username === '') continue;
        return basic(credentials.username, credentials.password);
      }
      if (challenge.scheme !== 'bearer') continue;
      const token = credentials?.registryToken ?? (await session.tokens.get(this.#tokenRequest(challenge, extraScopes), signal));
      return `Bearer ${token.reveal()}`;
    }
    return undefined;
  }

  #tokenRequest(challenge: Challenge, extraScopes: readonly string[]): TokenRequest {
    const scopes = [...new Set([`repository:${this.#o.reference.path}:pull`, ...extraScopes])];
    const registryUrl = new URL(`${this.#o.session.scheme ?? 'https'}://${this.#host}/`);
    return { challenge, scopes, credentials: this.#o.credentials, trust: this.#o.trust, registryUrl };
  }

  async #refusalOf(response: IncomingMessage, signal: AbortSignal | undefined): Promise<Failure> {
    const body = await readBody(response, MAX_ERROR_BODY, this.idleMs, signal);
    return refusal({
      status: response.statusCode ?? 0,
      statusText: response.statusMessage ?? '',
      challengeHeader: response.headers['www-authenticate'],
      body: body.toString('utf8'),
    });
  }

  /** `Warning: 299 - "…"` of the distribution specification, each text once. */
  #logWarning(response: IncomingMessage): void {
    const text = /^299 - "((?:[^"\\]|\\.)*)"$/.exec(response.headers.warning ?? '')?.[1]?.replaceAll(/\\(.)/g, '$1');
    if (text === undefined || this.#warned.has(text) || this.#warned.size >= 16) return;
    this.#warned.add(text);
    this.#o.log.warn(`Warning from registry ${this.#host}: ${JSON.stringify(text.slice(0, 1024))}`);
  }
}

/** Scopes that a token lacked, by the registry's own word. */
function insufficientScopes(challenges: readonly Challenge[]): readonly string[] {
  return challenges.flatMap(({ scheme, parameters }) => {
    const scope = parameters.get('scope') ?? '';
    return scheme === 'bearer' && parameters.get('error') === 'insufficient_scope' && scope !== '' ? [scope] : [];
  });
}

/** `Retry-After` in milliseconds: seconds, or a date in the future [I21]. */
function retryAfter(response: IncomingMessage): number | undefined {
  const text = response.headers['retry-after'];
  if (text === undefined) return undefined;
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1000;
  const until = Date.parse(text) - Date.now();
  return until > 0 ? until : undefined;
}
