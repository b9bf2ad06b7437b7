import { parse, TomlError } from 'smol-toml';
import { Failure } from '../../errors/index.ts';
import { type ImageReference, isFullyQualified, normaliseReference, parseReference } from '../reference.ts';

/** Where something can be fetched from; no trailing slash, no scheme. '' only below a `*.domain` prefix. */
export interface Endpoint {
  readonly location: string;
  /** TLS is not verified, and plain HTTP is tried after HTTPS failed [I18]. */
  readonly insecure: boolean;
}

export interface Mirror extends Endpoint {
  readonly pullFromMirror: 'all' | 'digest-only' | 'tag-only';
}

/** One `[[registry]]` [I15]. */
export interface Registry extends Endpoint {
  readonly prefix: string;
  readonly blocked: boolean;
  readonly mirrorByDigestOnly: boolean;
  readonly mirrors: readonly Mirror[];
}

/** A short name's value; `target` is undefined where the file switches an alias off with "". */
export interface Alias {
  readonly target: ImageReference | undefined;
  readonly origin: string;
}

export interface RegistriesConf {
  /** By prefix. */
  readonly registries: ReadonlyMap<string, Registry>;
  /** undefined: not said in this file. */
  readonly search: { readonly registries: readonly string[]; readonly origin: string } | undefined;
  readonly aliases: ReadonlyMap<string, Alias>;
  /** `credential-helpers`, in order [I24]; empty: not said in this file. */
  readonly credentialHelpers: readonly string[];
}

export const EMPTY_CONF: RegistriesConf = { registries: new Map(), search: undefined, aliases: new Map(), credentialHelpers: [] };

/**
 * Reads one registries.conf; `dropIn` files must be of the v2 format, the main file may be v1 [I14, I15].
 * Fails with InvalidArgument in the reference's words; keys that it does not know are passed over.
 */
export function parseRegistriesConf(text: string, path: string, dropIn: boolean): RegistriesConf {
  const table = parseToml(text);
  const v1 = v1Tables(table);
  if (v1 !== undefined) {
    if (dropIn) throw invalid('registry must be in v2 format but is in v1');
    const v2Keys = ['registry', 'unqualified-search-registries', 'credential-helpers', 'short-name-mode', 'aliases'];
    const mixed = v2Keys.filter((key) => own(table, key) !== undefined);
    if (mixed.length > 0) throw invalid(`mixing sysregistry v1/v2 is not supported: [registries.…] beside ${mixed.join(', ')}`);
    return fromV1(v1, path);
  }
  const registries = arrayOf(own(table, 'registry'), 'registry', asTable).map(parseRegistry);
  refuseConflicts(registries);
  const search = own(table, 'unqualified-search-registries');
  return {
    registries: firstByPrefix(registries),
    search: search === undefined ? undefined : { registries: parseSearch(search), origin: path },
    aliases: parseAliases(own(table, 'aliases'), path),
    credentialHelpers: arrayOf(own(table, 'credential-helpers'), 'credential-helpers', asText),
  };
}

/** Reads the file of cached short-name aliases: only an `[aliases]` table [I10]. */
export function parseAliasFile(text: string, path: string): ReadonlyMap<string, Alias> {
  return parseAliases(own(parseToml(text), 'aliases'), path);
}

/** `later` replaces by prefix, by alias, and the search list and the helpers as a whole where it has them [I14]. */
export function mergeConf(earlier: RegistriesConf, later: RegistriesConf): RegistriesConf {
  return {
    registries: new Map([...earlier.registries, ...later.registries]),
    search: later.search ?? earlier.search,
    aliases: new Map([...earlier.aliases, ...later.aliases]),
    credentialHelpers: later.credentialHelpers.length > 0 ? later.credentialHelpers : earlier.credentialHelpers,
  };
}

type Table = Readonly<Record<string, unknown>>;

function parseToml(text: string): Table {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw invalid(`toml: line ${error.line}: ${error.message.split('\n')[0] ?? ''}`, error);
  }
}

function parseRegistry(table: Table): Registry {
  const location = parseLocation(text(table, 'location'));
  const said = parseLocation(text(table, 'prefix'));
  if (said === '' && location === '') throw invalid('invalid condition: both location and prefix are unset');
  if (said !== '' && !said.startsWith('*.') && location === '')
    throw invalid('invalid condition: location is unset and prefix is not in the format: *.example.com');
  const prefix = said === '' ? location : said;
  if (prefix.startsWith('*.') && /[/@:]/.test(prefix))
    throw invalid(
      `Wildcarded prefix should be in the format: *.example.com. Current prefix ${JSON.stringify(prefix)} is incorrectly formatted`,
    );
  if (text(table, 'pull-from-mirror') !== '')
    throw invalid(`pull-from-mirror must not be set for a non-mirror registry ${JSON.stringify(prefix)}`);
  const mirrorByDigestOnly = flag(table, 'mirror-by-digest-only');
  const mirrors = arrayOf(own(table, 'mirror'), 'mirror', asTable).map((mirror) => parseMirror(mirror, prefix, mirrorByDigestOnly));
  return { prefix, location, insecure: flag(table, 'insecure'), blocked: flag(table, 'blocked'), mirrorByDigestOnly, mirrors };
}

function parseMirror(table: Table, prefix: string, byDigestOnly: boolean): Mirror {
  const location = parseLocation(text(table, 'location'));
  if (location === '') throw invalid('invalid condition: mirror location is unset');
  const pull = text(table, 'pull-from-mirror');
  if (byDigestOnly && pull !== '')
    throw invalid(
      `cannot set mirror usage mirror-by-digest-only for the registry (${JSON.stringify(prefix)}) and pull-from-mirror for per-mirror (${JSON.stringify(location)}) at the same time`,
    );
  if (pull !== '' && pull !== 'all' && pull !== 'digest-only' && pull !== 'tag-only')
    throw invalid(`unsupported pull-from-mirror value ${JSON.stringify(pull)} for mirror ${JSON.stringify(location)}`);
  return { location, insecure: flag(table, 'insecure'), pullFromMirror: pull === '' ? 'all' : pull };
}

/** The same location twice (under two prefixes) must agree on what is safe. */
function refuseConflicts(registries: readonly Registry[]): void {
  const seen = new Map<string, Registry>();
  for (const registry of registries) {
    const key = registry.location === '' ? registry.prefix : registry.location;
    const other = seen.get(key) ?? registry;
    seen.set(key, other);
    for (const setting of ['insecure', 'blocked'] as const) {
      if (registry[setting] !== other[setting])
        throw invalid(`registry '${registry.location}' is defined multiple times with conflicting '${setting}' setting`);
    }
  }
}

function firstByPrefix(registries: readonly Registry[]): ReadonlyMap<string, Registry> {
  const found = new Map<string, Registry>();
  for (const registry of registries) if (!found.has(registry.prefix)) found.set(registry.prefix, registry);
  return found;
}

function parseSearch(value: unknown): readonly string[] {
  return arrayOf(value, 'unqualified-search-registries', asText).map((entry) => {
    const location = parseLocation(entry);
    const domain = location === '' ? undefined : tryDomain(location);
    if (domain !== location) throw invalid(`Invalid unqualified-search-registries entry ${JSON.stringify(location)}`);
    return location;
  });
}

/** The domain in front of a repository that would follow it. */
function tryDomain(location: string): string | undefined {
  try {
    return parseReference(`${location}/x`).domain;
  } catch {
    return undefined;
  }
}

function parseAliases(value: unknown, origin: string): ReadonlyMap<string, Alias> {
  const aliases = new Map<string, Alias>();
  if (value === undefined) return aliases;
  const table = asTable(value, 'aliases');
  const problems: string[] = [];
  for (const name of Object.keys(table)) {
    try {
      checkShortName(name);
      const target = asText(table[name], `aliases.${name}`);
      aliases.set(name, { target: target === '' ? undefined : parseAliasTarget(target), origin });
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  if (problems.length > 0) throw invalid(`validating short-name aliases: ${problems.join('\n')}`);
  return aliases;
}

function checkShortName(name: string): void {
  const parsed = parseReference(name);
  const quoted = JSON.stringify(name);
  if (parsed.digest !== undefined) throw invalid(`invalid short name ${quoted}: must not contain digest`);
  if (parsed.tag !== undefined) throw invalid(`invalid short name ${quoted}: must not contain tag`);
  if (isFullyQualified(parsed)) throw invalid(`invalid short name ${quoted}: must not contain registry`);
}

function parseAliasTarget(target: string): ImageReference {
  const parsed = parseReference(target);
  const quoted = JSON.stringify(target);
  if (parsed.digest !== undefined) throw invalid(`invalid alias ${quoted}: must not contain digest`);
  if (parsed.tag !== undefined) throw invalid(`invalid alias ${quoted}: must not contain tag`);
  if (!isFullyQualified(parsed)) throw invalid(`invalid alias ${quoted}: must contain registry and repository`);
  return normaliseReference(target);
}

interface V1Tables {
  readonly search: readonly string[];
  readonly insecure: readonly string[];
  readonly block: readonly string[];
}

/** The old format's `[registries.search]`, `[registries.insecure]` and `[registries.block]`, if any is there. */
function v1Tables(table: Table): V1Tables | undefined {
  const registries = own(table, 'registries');
  if (registries === undefined) return undefined;
  const list = (name: string) => {
    const section = own(asTable(registries, 'registries'), name);
    return section === undefined ? [] : arrayOf(own(asTable(section, name), 'registries'), `registries.${name}.registries`, asText);
  };
  const found = { search: list('search'), insecure: list('insecure'), block: list('block') };
  return found.search.length + found.insecure.length + found.block.length === 0 ? undefined : found;
}

function fromV1(v1: V1Tables, origin: string): RegistriesConf {
  const blocked = new Set(v1.block.map(parseLocation));
  const insecure = new Set(v1.insecure.map(parseLocation));
  const registries = [...new Set([...blocked, ...insecure])].map((location) => ({
    prefix: location,
    location,
    insecure: insecure.has(location),
    blocked: blocked.has(location),
    mirrorByDigestOnly: false,
    mirrors: [],
  }));
  const search = { registries: parseSearch(v1.search), origin };
  return { ...EMPTY_CONF, registries: firstByPrefix(registries), search };
}

function parseLocation(said: string): string {
  if (/^https?:\/\//.test(said)) throw invalid(`invalid location '${said}': URI schemes are not supported`);
  let end = said.length;
  while (said[end - 1] === '/') end--;
  return said.slice(0, end);
}

function own(table: Table, key: string): unknown {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

function text(table: Table, key: string): string {
  const value = own(table, key);
  return value === undefined ? '' : asText(value, key);
}

function flag(table: Table, key: string): boolean {
  const value = own(table, key);
  if (value === undefined) return false;
  if (typeof value !== 'boolean') throw wrongType(key, 'boolean', value);
  return value;
}

function arrayOf<T>(value: unknown, key: string, read: (entry: unknown, key: string) => T): readonly T[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw wrongType(key, 'array', value);
  return value.map((entry: unknown) => read(entry, key));
}

function asTable(value: unknown, key: string): Table {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrongType(key, 'table', value);
  return value as Table;
}

function asText(value: unknown, key: string): string {
  if (typeof value !== 'string') throw wrongType(key, 'string', value);
  return value;
}

function wrongType(key: string, expected: string, value: unknown): Failure {
  return invalid(`toml: key ${JSON.stringify(key)} must be of type ${expected}, not ${Array.isArray(value) ? 'array' : typeof value}`);
}

function invalid(message: string, cause?: unknown): Failure {
  return new Failure('InvalidArgument', message, { cause, advice: 'See containers-registries.conf(5) for the format.' });
}
