import { Failure, wrap } from '../../errors/index.ts';
import { type ImageReference, formatReference, normaliseReference, repositoryOf } from '../reference.ts';
import type { Endpoint, RegistriesConf, Registry } from './conf.ts';

/** One place to try, and the name that the image has there [I16]. */
export interface PullSource {
  readonly endpoint: Endpoint;
  readonly reference: ImageReference;
  /** Prefix of the entry that forbids this place; mirrors of a blocked registry are not blocked by it [I17]. */
  readonly blockedBy: string | undefined;
}

/** The `[[registry]]` with the longest prefix that matches a repository, domain or full name [I15]. */
export function findRegistry(conf: RegistriesConf, name: string): Registry | undefined {
  let found: Registry | undefined;
  for (const registry of conf.registries.values()) {
    if (matchedLength(name, registry.prefix) === -1) continue;
    if (found === undefined || registry.prefix.length > found.prefix.length) found = registry;
  }
  return found;
}

/** Mirrors that suit the reference in file order, the registry itself last [I16]. Fails where a location makes no valid name. */
export function pullSources(conf: RegistriesConf, reference: ImageReference): readonly PullSource[] {
  const registry = findRegistry(conf, repositoryOf(reference));
  if (registry === undefined) return [{ endpoint: { location: reference.domain, insecure: false }, reference, blockedBy: undefined }];
  const byDigest = reference.digest !== undefined;
  const suits = (when: 'all' | 'digest-only' | 'tag-only') => when === 'all' || (when === 'digest-only') === byDigest;
  const mirrors = registry.mirrorByDigestOnly && !byDigest ? [] : registry.mirrors.filter((mirror) => suits(mirror.pullFromMirror));
  const source = (endpoint: Endpoint, ownBlock: string | undefined): PullSource => {
    const there = moved(reference, registry.prefix, endpoint.location);
    const entry = findRegistry(conf, repositoryOf(there));
    return { endpoint, reference: there, blockedBy: ownBlock ?? (entry?.blocked === true ? entry.prefix : undefined) };
  };
  return [...mirrors.map((mirror) => source(mirror, undefined)), source(registry, registry.blocked ? registry.prefix : undefined)];
}

/** The name with its prefix replaced by a location; the same name where a wildcard entry has no location. */
function moved(reference: ImageReference, prefix: string, location: string): ImageReference {
  if (location === '') return reference;
  const name = formatReference(reference);
  const text = location + name.slice(matchedLength(name, prefix));
  try {
    const rewritten = normaliseReference(text);
    // A location without a host would otherwise become a name in the Docker Hub.
    if (formatReference(rewritten) === text) return rewritten;
  } catch (error) {
    throw wrap('rewriting reference', error);
  }
  throw new Failure('InvalidArgument', 'rewriting reference: repository name must be canonical', {
    advice: `Let location = "${location}" in registries.conf begin with a host and fit the names below prefix = "${prefix}".`,
  });
}

/** How much of a name a prefix covers, −1 where it does not: it must end at `/`, `:`, `@` or the name's end. */
function matchedLength(name: string, prefix: string): number {
  let end: number;
  if (prefix.startsWith('*.')) {
    const at = name.indexOf(prefix.slice(1));
    if (at === -1 || name.slice(0, at).includes('/')) return -1;
    end = at + prefix.length - 1;
  } else {
    if (!name.startsWith(prefix)) return -1;
    end = prefix.length;
  }
  return end === name.length || [':', '/', '@'].includes(name[end] ?? '') ? end : -1;
}
