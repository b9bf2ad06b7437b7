import { Failure } from '../errors/index.ts';
import { type Digest, algorithmOf, parseDigest } from '../ids/index.ts';

declare const brand: unique symbol;

/**
 * A fully qualified name of an image in a registry, as `normaliseReference` makes it: domain and path always,
 * and either a tag or a digest, never both [I9].
 */
export interface ImageReference {
  readonly [brand]: 'ImageReference';
  /** `host`, `host:port`, `[v6]:port`; `docker.io` for the Docker Hub. */
  readonly domain: string;
  /** The repository below the domain: `library/busybox`. */
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

/** What a text says before normalisation; the domain is '' where there is none. */
export interface ParsedReference {
  readonly domain: string;
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

const DOCKER_HUB = 'docker.io';
const LEGACY_DOCKER_HUB = 'index.docker.io';
const MAX_NAME = 255;
const MAX_TAG = 128;
/** Longer than name, tag and digest can be together: not even looked at [a77]. */
const MAX_TEXT = 1024;

/**
 * Reads `[domain/]path[:tag][@digest]` in linear time. A first component that looks like a host name is taken
 * as the domain, as the reference's grammar does. Fails with InvalidArgument and the reference's texts [I9].
 */
export function parseReference(text: string): ParsedReference {
  if (text === '') throw invalid('repository name must have at least one component');
  if (text.length > MAX_TEXT) throw invalid(`repository name must not be more than ${MAX_NAME} characters`);
  const at = text.indexOf('@');
  const named = at === -1 ? text : text.slice(0, at);
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  const name = colon === -1 ? named : named.slice(0, colon);
  const tag = colon === -1 ? undefined : named.slice(colon + 1);
  const digestText = at === -1 ? undefined : text.slice(at + 1);
  const wellFormed = (tag === undefined || isTag(tag)) && (digestText === undefined || looksLikeDigest(digestText));
  const split = wellFormed ? splitName(name) : undefined;
  if (split === undefined) {
    const lowered = wellFormed && name !== name.toLowerCase() && splitName(name.toLowerCase()) !== undefined;
    throw invalid(lowered ? 'repository name must be lowercase' : 'invalid reference format');
  }
  if (name.length > MAX_NAME) throw invalid(`repository name must not be more than ${MAX_NAME} characters`);
  return { ...split, tag, digest: digestText === undefined ? undefined : checkedDigest(digestText) };
}

/** Whether a name says which registry it lives in: its first component has a dot or colon or is `localhost` [I9]. */
export function isFullyQualified(parsed: ParsedReference): boolean {
  return /[.:]/.test(parsed.domain) || parsed.domain === 'localhost';
}

/**
 * The normal form of a name: `docker.io/library/` where no registry is said, `:latest` where neither tag nor
 * digest is, and of `name:tag@digest` only the digest [I9]. Fails with InvalidArgument.
 */
export function normaliseReference(text: string): ImageReference {
  if (/^[0-9a-f]{64}$/.test(text)) throw invalid(`invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  const [domain, remainder] = splitDockerDomain(text);
  const end = remainder.search(/[:@]/);
  const remote = end === -1 ? remainder : remainder.slice(0, end);
  if (remote !== remote.toLowerCase()) throw invalid('invalid reference format: repository name must be lowercase');
  const parsed = parseReference(`${domain}/${remainder}`);
  if (parsed.domain === '') throw invalid(`invalid reference format`);
  const tag = parsed.digest !== undefined ? undefined : (parsed.tag ?? 'latest');
  return { domain: parsed.domain, path: parsed.path, tag, digest: parsed.digest } as ImageReference;
}

/** As `normaliseReference`, undefined instead of an error: for names that others wrote into the store. */
export function tryNormaliseReference(text: string): ImageReference | undefined {
  try {
    return normaliseReference(text);
  } catch {
    return undefined;
  }
}

/** `domain/path`: the repository without tag and digest. */
export function repositoryOf(reference: ImageReference): string {
  return `${reference.domain}/${reference.path}`;
}

/** `domain/path:tag` or `domain/path@digest`: the name under which the store keeps the image. */
export function formatReference(reference: ImageReference): string {
  return `${repositoryOf(reference)}${reference.digest === undefined ? `:${reference.tag}` : `@${reference.digest}`}`;
}

/** The short form that the reference prints in errors: the Docker Hub's prefixes are left out. */
export function familiarReference(reference: ImageReference): string {
  const full = formatReference(reference);
  if (reference.domain !== DOCKER_HUB) return full;
  const inHub = full.slice(DOCKER_HUB.length + 1);
  return inHub.startsWith('library/') && inHub.indexOf('/', 8) === -1 ? inHub.slice(8) : inHub;
}

/** What names the manifest in a registry's URL. */
export function tagOrDigest(reference: ImageReference): string {
  return reference.digest ?? reference.tag ?? 'latest';
}

/** The same image by its digest. */
export function withDigest(reference: ImageReference, digest: Digest): ImageReference {
  return { ...reference, tag: undefined, digest };
}

function invalid(message: string): Failure {
  return new Failure('InvalidArgument', message, { advice: 'Write the image as host/repository:tag or host/repository@sha256:<digest>.' });
}

function splitDockerDomain(text: string): readonly [string, string] {
  const slash = text.indexOf('/');
  const first = text.slice(0, Math.max(slash, 0));
  const isDomain = slash !== -1 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  const domain = isDomain && first !== LEGACY_DOCKER_HUB ? first : DOCKER_HUB;
  const remainder = isDomain ? text.slice(slash + 1) : text;
  return [domain, domain === DOCKER_HUB && !remainder.includes('/') ? `library/${remainder}` : remainder];
}

/** Domain and path of a name, or undefined where the grammar does not allow it. */
function splitName(name: string): { domain: string; path: string } | undefined {
  const slash = name.indexOf('/');
  if (slash !== -1 && isDomain(name.slice(0, slash))) {
    const path = name.slice(slash + 1);
    return isPath(path) ? { domain: name.slice(0, slash), path } : undefined;
  }
  return isPath(name) ? { domain: '', path: name } : undefined;
}

function isDomain(text: string): boolean {
  const bracket = text.startsWith('[') ? text.indexOf(']') : -1;
  const colon = text.indexOf(':', bracket + 1);
  const host = colon === -1 ? text : text.slice(0, colon);
  if (colon !== -1 && !/^[0-9]+$/.test(text.slice(colon + 1))) return false;
  if (bracket !== -1) return bracket === host.length - 1 && /^\[[0-9A-Fa-f:]+\]$/.test(host);
  return host.split('.').every((label) => /^[A-Za-z0-9-]+$/.test(label) && !label.startsWith('-') && !label.endsWith('-'));
}

function isPath(text: string): boolean {
  return text.split('/').every(isPathComponent);
}

/** Runs of `[a-z0-9]` joined by `.`, `_`, `__` or any number of `-`. */
function isPathComponent(text: string): boolean {
  const isAlphanumeric = (char: string | undefined) => char !== undefined && ((char >= 'a' && char <= 'z') || (char >= '0' && char <= '9'));
  if (!isAlphanumeric(text[0]) || !isAlphanumeric(text.at(-1))) return false;
  for (let i = 0; i < text.length; i++) {
    if (isAlphanumeric(text[i])) continue;
    const start = i;
    while (text[i + 1] === text[start]) i++;
    const length = i - start + 1;
    const allowed = text[start] === '-' || (text[start] === '_' && length <= 2) || (text[start] === '.' && length === 1);
    if (!allowed || !isAlphanumeric(text[i + 1])) return false;
  }
  return true;
}

function isTag(text: string): boolean {
  return text.length <= MAX_TAG && /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(text);
}

/** The grammar's idea of a digest, wider than what is accepted: it decides which error is told. */
function looksLikeDigest(text: string): boolean {
  const colon = text.indexOf(':');
  if (colon === -1 || !/^[0-9A-Fa-f]{32,}$/.test(text.slice(colon + 1))) return false;
  return text
    .slice(0, colon)
    .split(/[-_+.]/)
    .every((part) => /^[A-Za-z][A-Za-z0-9]*$/.test(part));
}

function checkedDigest(text: string): Digest {
  const digest = parseDigest(text);
  if (digest !== undefined) return digest;
  const algorithm = algorithmOf(text as Digest);
  if (!['sha256', 'sha384', 'sha512'].includes(algorithm)) throw invalid('unsupported digest algorithm');
  const hex = text.slice(algorithm.length + 1);
  throw invalid(hex === hex.toLowerCase() ? 'invalid checksum digest length' : 'invalid checksum digest format');
}
