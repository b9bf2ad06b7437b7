import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { inspect } from 'node:util';
import { Failure, codeOf, wrap } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import type { RegistryAuth } from './image.ts';
import { type JsonTable, asTable, field, tableField, textField } from './json.ts';
import { type ImageReference, repositoryOf } from './reference.ts';
import type { AuthFileSource } from './settings.ts';

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

/**
 * Looks an image's credentials up in auth files, the first file that knows it wins [I24]; in a file by the full
 * repository, each shorter path, the registry, then URLs of it [I25]. Fails with
 * `getting username and password: reading JSON file %q: …`; a missing file is none.
 */
export async function fromFiles(
  reference: ImageReference,
  files: readonly AuthFileSource[],
  log: Logger,
): Promise<Credentials | undefined> {
  for (const file of files) {
    let found: Credentials | undefined;
    try {
      const table = await readTable(file);
      found = table === undefined ? undefined : findIn(table, reference, file, log);
    } catch (error) {
      throw wrap('getting username and password', error);
    }
    if (found === undefined) continue;
    log.debug(`Found credentials for ${repositoryOf(reference)} in file ${file.path}`);
    return found;
  }
  return undefined;
}

async function readTable(file: AuthFileSource): Promise<JsonTable | undefined> {
  try {
    const text = await readFile(file.path, 'utf8');
    return asTable(JSON.parse(text), `unmarshaling JSON at ${JSON.stringify(file.path)}`);
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    // JSON.parse quotes what it could not read, and this file is full of secrets.
    const cause = error instanceof SyntaxError ? new Failure('Unknown', 'invalid JSON') : error;
    throw wrap(`reading JSON file ${JSON.stringify(file.path)}`, cause);
  }
}

function findIn(table: JsonTable, reference: ImageReference, file: AuthFileSource, log: Logger): Credentials | undefined {
  const isOld = file.format === 'dockercfg';
  const what = `reading JSON file ${JSON.stringify(file.path)}`;
  const helper = isOld ? undefined : textField(tableField(table, 'credHelpers', what) ?? {}, reference.domain, what);
  if (helper !== undefined) {
    log.warn(`Credential helper ${helper} for ${reference.domain} in ${file.path} is not called: helpers are not supported`);
    return undefined;
  }
  const auths = isOld ? table : (tableField(table, 'auths', what) ?? {});
  for (const key of lookupOrder(reference, isOld)) {
    if (field(auths, key) !== undefined) return decodeEntry(auths, key, file, log);
  }
  const registry = normaliseRegistry(reference.domain);
  const key = Object.keys(auths).find((candidate) => normaliseKey(candidate, isOld) === registry);
  return key === undefined ? undefined : decodeEntry(auths, key, file, log);
}

function lookupOrder(reference: ImageReference, isOld: boolean): readonly string[] {
  if (isOld) return [reference.domain];
  const parts = repositoryOf(reference).split('/');
  return parts.map((_, index) => parts.slice(0, parts.length - index).join('/'));
}

function decodeEntry(auths: JsonTable, key: string, file: AuthFileSource, log: Logger): Credentials | undefined {
  const what = `entry ${JSON.stringify(key)} in ${JSON.stringify(file.path)}`;
  const entry = asTable(field(auths, key), what);
  const encoded = textField(entry, 'auth', what) ?? '';
  const pair = decodeAuth(encoded);
  const identityToken = textField(entry, 'identitytoken', what) ?? '';
  if (pair === undefined) {
    if (encoded !== '') log.warn(`Error parsing the "auth" field of a credential entry ${key} in ${file.path}, missing colon`);
    return undefined;
  }
  return {
    username: pair.username,
    password: new Secret(pair.password),
    identityToken: identityToken === '' ? undefined : new Secret(identityToken),
    registryToken: undefined,
  };
}

/** base64 of `user:password`, NULs around the password cut off; undefined where there is no colon. */
function decodeAuth(encoded: string): { username: string; password: string } | undefined {
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

function normaliseKey(key: string, isOld: boolean): string {
  const stripped = key.replace(/^http:\/\//, '').replace(/^https:\/\//, '');
  return normaliseRegistry(isOld || stripped !== key ? (stripped.split('/', 1)[0] ?? '') : stripped);
}

function normaliseRegistry(registry: string): string {
  return registry === 'registry-1.docker.io' || registry === 'docker.io' ? 'index.docker.io' : registry;
}
