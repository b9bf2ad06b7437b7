import { type Credentials, fingerprint } from '../credentials.ts';
import type { Trust } from './certificates.ts';
import type { Challenge } from './challenge.ts';
import { TokenCache } from './tokens.ts';
import type { Transport } from './transport.ts';

/** What is known of one registry for one set of credentials; shared by all pulls. */
export interface Session {
  /** 'http' only after HTTPS failed and the registry is marked insecure [I18]. */
  scheme: 'https' | 'http' | undefined;
  /** What it asks of us; undefined until it was asked, empty where it wants nothing. */
  challenges: readonly Challenge[] | undefined;
  readonly tokens: TokenCache;
}

/** How long a registry's scheme and challenges are believed. */
const BELIEVED_MS = 10 * 60_000;
const MAX_SESSIONS = 256;

/** Sessions by host, trust and credentials; the least recently made go first. */
export class Sessions {
  readonly #transport: Transport;
  readonly #sessions = new Map<string, { readonly session: Session; readonly until: number }>();

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  get(host: string, trust: Trust, credentials: Credentials | undefined): Session {
    const key = JSON.stringify([host, trust.id, fingerprint(credentials)]);
    const known = this.#sessions.get(key);
    if (known !== undefined && known.until > performance.now()) return known.session;
    const session: Session = { scheme: undefined, challenges: undefined, tokens: new TokenCache(this.#transport) };
    this.#sessions.delete(key);
    const oldest = this.#sessions.keys().next().value;
    if (this.#sessions.size >= MAX_SESSIONS && oldest !== undefined) this.#sessions.delete(oldest);
    this.#sessions.set(key, { session, until: performance.now() + BELIEVED_MS });
    return session;
  }
}
