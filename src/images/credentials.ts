import { createHash } from 'node:crypto';
import { inspect } from 'node:util';
import { Failure } from '../errors/index.ts';
import type { RegistryAuth } from './image.ts';

/** A text that no log line, error or dump shows [a46]. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return '***';
  }

  toJSON(): string {
    return '***';
  }

  [inspect.custom](): string {
    return '***';
  }
}

export interface Credentials {
  readonly username: string;
  readonly password: Secret;
  /** An OAuth2 refresh token, sent to the token server instead of the password. */
  readonly identityToken: Secret | undefined;
  /** A bearer token, sent to the registry as it is. */
  readonly registryToken: Secret | undefined;
}

/** A name for credentials that reveals nothing: keys of caches. */
export function fingerprint(credentials: Credentials | undefined): string {
  if (credentials === undefined) return 'anonymous';
  const parts = [
    credentials.username,
    ...[credentials.password, credentials.identityToken, credentials.registryToken].map((s) => s?.reveal() ?? ''),
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}

/**
 * The credentials of a pull request [I3]: `auth` replaces user and password; without a user name only a token
 * counts; nothing usable is undefined. Fails with Unknown for bad base64, in the words of Go's decoder.
 */
export function fromRequest(auth: RegistryAuth | undefined): Credentials | undefined {
  if (auth === undefined) return undefined;
  const pair = auth.auth === '' ? { username: auth.username, password: auth.password } : decodeAuth(auth.auth);
  const token = (text: string) => (text === '' ? undefined : new Secret(text));
  const registryToken = token(auth.registryToken);
  const identityToken = token(auth.identityToken);
  if ((pair === undefined || pair.username === '') && registryToken === undefined && identityToken === undefined) return undefined;
  return { username: pair?.username ?? '', password: new Secret(pair?.password ?? ''), identityToken, registryToken };
}

/** base64 of `user:password`, NULs around the password cut off; undefined where there is no colon. */
export function decodeAuth(encoded: string): { username: string; password: string } | undefined {
  const bad = badBase64At(encoded);
  if (bad !== undefined) throw new Failure('Unknown', `illegal base64 data at input byte ${bad}`);
  const decoded = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  if (colon === -1) return undefined;
  let password = decoded.slice(colon + 1);
  while (password.startsWith('\0')) password = password.slice(1);
  while (password.endsWith('\0')) password = password.slice(0, -1);
  return { username: decoded.slice(0, colon), password };
}

/** Where Go's standard decoder would give up: line ends are skipped, padding is needed, nothing may follow it. */
function badBase64At(text: string): number | undefined {
  let digits = 0;
  let padding = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? '';
    if (char === '\r' || char === '\n') continue;
    if (char === '=') {
      if (padding === 0 && digits % 4 < 2) return at;
      if (++padding + (digits % 4) > 4) return at;
    } else if (padding > 0) {
      return (digits + padding) % 4 === 0 ? at : at - 1;
    } else if (/[A-Za-z0-9+/]/.test(char)) {
      digits++;
    } else {
      return at;
    }
  }
  if ((digits + padding) % 4 === 0) return undefined;
  return padding > 0 ? text.length : text.length - (digits % 4);
}
