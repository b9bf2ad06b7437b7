import { readFile } from 'node:fs/promises';
import { Failure, codeOf, textOf, wrap } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import { askHelper } from './credential-helper.ts';
import { type Credentials, Secret, decodeAuth } from './credentials.ts';
import { type JsonTable, asTable, field, tableField, textField } from './json.ts';
import { type ImageReference, repositoryOf } from './reference.ts';
import type { AuthFileSource } from './settings.ts';

/** The name that stands for the auth files in `credential-helpers` of registries.conf. */
export const AUTH_FILES_HELPER = 'containers-auth.json';

/** Where credentials of pulls that bring none are looked for. */
export interface CredentialSources {
  readonly files: readonly AuthFileSource[];
  /** `credential-helpers` of registries.conf, in order; AUTH_FILES_HELPER stands for the files. */
  readonly helpers: readonly string[];
  /** What helper programs see. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Looks an image's credentials up: in each auth file, or from each credential helper, in order; the first that knows the
 * registry wins [I24, I25]. A helper that fails does not keep the next from being asked; its error is told when nobody knows.
 */
export async function findCredentials(
  reference: ImageReference,
  sources: CredentialSources,
  log: Logger,
  signal?: AbortSignal,
): Promise<Credentials | undefined> {
  const failed: string[] = [];
  for (const helper of sources.helpers) {
    if (helper === AUTH_FILES_HELPER) {
      const found = await fromFiles(reference, sources, log, signal);
      if (found !== undefined) return found;
      continue;
    }
    try {
      const found = await askHelper(helper, reference.domain, sources.env, signal);
      if (found === undefined) continue;
      log.debug(`Found credentials for ${reference.domain} in credential helper ${helper}`);
      return found;
    } catch (error) {
      signal?.throwIfAborted();
      failed.push(textOf(error));
    }
  }
  if (failed.length > 0) throw new Failure('Unknown', `getting username and password: ${failed.join('; ')}`);
  return undefined;
}

/**
 * In auth files, the first file that knows it wins [I24]; in a file by the helper that is named for the registry, else by the
 * full repository, each shorter path, the registry, then URLs of it [I25]. Fails with
 * `getting username and password: reading JSON file %q: …`; a missing file is none.
 */
async function fromFiles(
  reference: ImageReference,
  { files, env }: CredentialSources,
  log: Logger,
  signal: AbortSignal | undefined,
): Promise<Credentials | undefined> {
  for (const file of files) {
    let found: Credentials | undefined;
    try {
      const table = await readTable(file);
      const helper = table === undefined ? undefined : helperFor(table, reference, file);
      if (helper !== undefined) found = await askHelper(helper, reference.domain, env, signal);
      else if (table !== undefined) found = findIn(table, reference, file, log);
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

/** `credHelpers[registry]`; it alone decides then. */
function helperFor(table: JsonTable, reference: ImageReference, file: AuthFileSource): string | undefined {
  if (file.format === 'dockercfg') return undefined;
  const what = `reading JSON file ${JSON.stringify(file.path)}`;
  return textField(tableField(table, 'credHelpers', what) ?? {}, reference.domain, what);
}

function findIn(table: JsonTable, reference: ImageReference, file: AuthFileSource, log: Logger): Credentials | undefined {
  const isOld = file.format === 'dockercfg';
  const what = `reading JSON file ${JSON.stringify(file.path)}`;
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

function normaliseKey(key: string, isOld: boolean): string {
  const stripped = key.replace(/^http:\/\//, '').replace(/^https:\/\//, '');
  return normaliseRegistry(isOld || stripped !== key ? (stripped.split('/', 1)[0] ?? '') : stripped);
}

function normaliseRegistry(registry: string): string {
  return registry === 'registry-1.docker.io' || registry === 'docker.io' ? 'index.docker.io' : registry;
}
