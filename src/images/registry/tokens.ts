import { Failure, wrap } from '../../errors/index.ts';
import { Flights } from '../../sync/index.ts';
import { type Credentials, Secret } from '../credentials.ts';
import { type JsonTable, asTable, field } from '../json.ts';
import { readBody } from './body.ts';
import { type Trust, withoutClient } from './certificates.ts';
import type { Challenge } from './challenge.ts';
import { MAX_ERROR_BODY, refusal, unexpectedStatus } from './responses.ts';
import type { Transport } from './transport.ts';

interface Token {
  readonly secret: Secret;
  /** performance.now() from which on it is not used any more. */
  readonly until: number;
}

/** What a token is asked for. */
export interface TokenRequest {
  readonly challenge: Challenge;
  /** `repository:<path>:pull`, one or more. */
  readonly scopes: readonly string[];
  readonly credentials: Credentials | undefined;
  /** Of the registry that sent the challenge. */
  readonly trust: Trust;
  readonly registryUrl: URL;
}

/** Bytes of a token answer that are read [I42]. */
const MAX_TOKEN_BODY = 1024 * 1024;
/** Registries leave `expires_in` out, or say less than is of use. */
const MINIMUM_LIFETIME_S = 60;
/** Asked anew this long before the end, so that no request carries a token that dies on its way. */
const SAFETY_S = 5;

/** Bearer tokens of one registry and one set of credentials, by scope, until they expire. */
export class TokenCache {
  readonly #transport: Transport;
  readonly #tokens = new Map<string, Token>();
  readonly #flights = new Flights<string, Token>();

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** A valid token; concurrent callers share one request. Fails as the token server does. */
  async get(request: TokenRequest, signal: AbortSignal | undefined): Promise<Secret> {
    const key = keyOf(request);
    const known = this.#tokens.get(key);
    if (known !== undefined && known.until > performance.now()) return known.secret;
    const token = await this.#flights.join(key, (shared) => this.#fetch(request, shared), signal);
    this.#tokens.set(key, token);
    return token.secret;
  }

  /** The registry refused it: ask for another. */
  drop(request: TokenRequest): void {
    this.#tokens.delete(keyOf(request));
  }

  async #fetch(request: TokenRequest, signal: AbortSignal): Promise<Token> {
    const realm = realmOf(request);
    const identity = request.credentials?.identityToken;
    const asked = performance.now();
    const response = await this.#transport.exchange({
      ...(identity === undefined ? passwordGrant(realm, request) : refreshGrant(realm, request, identity)),
      trust: realm.host === request.registryUrl.host ? request.trust : withoutClient(request.trust),
      signal,
    });
    const status = response.statusCode ?? 0;
    const idleMs = this.#transport.timeouts.idleMs;
    if (status !== 200) {
      const body = await readBody(response, MAX_ERROR_BODY, idleMs, signal);
      const challengeHeader = response.headers['www-authenticate'];
      const refused = refusal({ status, statusText: response.statusMessage ?? '', challengeHeader, body: body.toString('utf8') });
      if (status === 401) throw wrap('unable to retrieve auth token: invalid username/password', refused);
      throw status === 429 ? refused : wrap('Requesting bearer token', unexpectedStatus(status, response.statusMessage ?? ''));
    }
    return parseToken(await readBody(response, MAX_TOKEN_BODY, idleMs, signal), asked, realm);
  }
}

function keyOf(request: TokenRequest): string {
  const parameter = (name: string) => request.challenge.parameters.get(name) ?? '';
  return JSON.stringify([parameter('realm'), parameter('service'), ...request.scopes]);
}

/** Credentials go to a token server over TLS only, unless plain HTTP is allowed for the registry itself [a44, a45]. */
function realmOf(request: TokenRequest): URL {
  const text = request.challenge.parameters.get('realm');
  if (text === undefined) throw new Failure('Unknown', 'missing realm in bearer auth challenge');
  const realm = URL.canParse(text) ? new URL(text) : undefined;
  const allowed = realm?.protocol === 'https:' || (realm?.protocol === 'http:' && request.trust.insecure);
  if (realm === undefined || !allowed)
    throw new Failure('PermissionDenied', `refused to ask ${JSON.stringify(text.slice(0, 256))} for a token: it is no https URL`, {
      code: 'INSECURE_REALM',
      advice: `Set insecure = true for ${request.registryUrl.host} in registries.conf if that is meant.`,
    });
  return realm;
}

function passwordGrant(realm: URL, request: TokenRequest) {
  const url = new URL(realm);
  const { username, password } = request.credentials ?? { username: '', password: new Secret('') };
  if (username !== '') url.searchParams.append('account', username);
  for (const [name, value] of askedFor(request)) url.searchParams.append(name, value);
  const usable = username !== '' && password.reveal() !== '';
  return { url, headers: {}, authorization: usable ? basic(username, password) : undefined };
}

function refreshGrant(realm: URL, request: TokenRequest, identity: Secret) {
  const form = new URLSearchParams([
    ...askedFor(request),
    ['grant_type', 'refresh_token'],
    ['refresh_token', identity.reveal()],
    ['client_id', 'containers/image'],
  ]);
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
  return { url: realm, method: 'POST' as const, headers, body: form.toString() };
}

function askedFor(request: TokenRequest): [string, string][] {
  const service = request.challenge.parameters.get('service') ?? '';
  const scopes = request.scopes.map((scope): [string, string] => ['scope', scope]);
  return service === '' ? scopes : [['service', service], ...scopes];
}

/** `Basic …` of RFC 7617. */
export function basic(username: string, password: Secret): string {
  return `Basic ${Buffer.from(`${username}:${password.reveal()}`).toString('base64')}`;
}

function parseToken(body: Buffer, asked: number, realm: URL): Token {
  const what = `decoding bearer token (from ${JSON.stringify(`${realm.origin}${realm.pathname}`)})`;
  let table: JsonTable;
  try {
    table = asTable(JSON.parse(body.toString('utf8')), what);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Failure('Unknown', `${what}: invalid JSON`); // Without the body: it may hold the token.
  }
  const text = field(table, 'token') ?? field(table, 'access_token');
  if (typeof text !== 'string' || text === '' || /[^\x21-\x7e]/.test(text)) throw new Failure('Unknown', `${what}: no token in it`);
  const lifetime = field(table, 'expires_in');
  const seconds = Math.max(typeof lifetime === 'number' ? lifetime : 0, MINIMUM_LIFETIME_S);
  return { secret: new Secret(text), until: asked + (seconds - SAFETY_S) * 1000 };
}
