import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import { asTable, field, parseForeignJson } from '../json.ts';
import { type ImageReference, formatReference, repositoryOf } from '../reference.ts';
import { type Requirement, onlyKeys, parseRequirements } from './requirements.ts';

export interface Policy {
  readonly fallback: readonly Requirement[];
  /** Scope → requirements, of transport `docker`; '' is the whole transport. */
  readonly docker: ReadonlyMap<string, readonly Requirement[]>;
}

export interface PolicyPaths {
  /** `signature_policy`; '' takes the first existing of `defaults` [I28]. */
  readonly file: string;
  readonly defaults: readonly string[];
  /** `signature_policy_dir`; '' for none [I29]. */
  readonly namespaceDir: string;
}

/**
 * Reads the policy that holds for a pull in a namespace; read anew at each pull [I28, I29]. Fails where there
 * is none, and for anything in it that is not understood: a policy is never half applied.
 */
export async function loadPolicy(paths: PolicyPaths, namespace: string | undefined): Promise<Policy> {
  if (namespace !== undefined && namespace !== '' && paths.namespaceDir !== '') {
    const path = join(paths.namespaceDir, `${pathElement(namespace)}.json`);
    try {
      if (await exists(path)) return await readPolicy(path);
    } catch (error) {
      throw wrap(`get context for namespace: read policy path ${path}`, error);
    }
  }
  if (paths.file !== '') return await readPolicy(paths.file);
  for (const path of paths.defaults) if (await exists(path)) return await readPolicy(path);
  const searched = paths.defaults.map((path) => JSON.stringify(path)).join(', ');
  throw new Failure('FailedPrecondition', `no policy.json file found at any of the following: ${searched}`, {
    advice: 'Install /etc/containers/policy.json, or set signature_policy in crio.conf.',
  });
}

/** The policy that a container's image is checked against when it is used; undefined where only the defaults would hold [I33]. */
export async function loadPolicyOfUse(paths: PolicyPaths, namespace: string): Promise<Policy | undefined> {
  const hasOwn =
    namespace !== '' && paths.namespaceDir !== '' && (await exists(join(paths.namespaceDir, `${pathElement(namespace)}.json`)));
  return hasOwn || paths.file !== '' ? await loadPolicy(paths, namespace) : undefined;
}

/** Fails with InvalidArgument in the reference's words for a malformed policy; unknown keys are errors [I30]. */
export function parsePolicy(text: string): Policy {
  const table = parseForeignJson(Buffer.from(text), 'policy');
  onlyKeys(table, ['default', 'transports']);
  const fallback = field(table, 'default');
  if (fallback === undefined) throw invalid('Default policy is missing');
  const transports = asTable(field(table, 'transports') ?? {}, 'transports');
  const docker = new Map<string, readonly Requirement[]>();
  for (const transport of Object.keys(transports)) {
    const scopes = asTable(field(transports, transport), `transports.${transport}`);
    for (const scope of Object.keys(scopes)) {
      const requirements = parseRequirements(field(scopes, scope));
      if (transport === 'docker') docker.set(scope, requirements);
    }
  }
  return { fallback: parseRequirements(fallback), docker };
}

/**
 * The requirements for an image: of the exact reference, then its repository and the paths above it, then
 * `*.host` wildcards from the nearest domain, then the transport's '', then the default [I30].
 */
export function requirementsFor(policy: Policy, reference: ImageReference): readonly Requirement[] {
  for (const scope of scopesOf(reference)) {
    const found = policy.docker.get(scope);
    if (found !== undefined) return found;
  }
  return policy.docker.get('') ?? policy.fallback;
}

function scopesOf(reference: ImageReference): readonly string[] {
  const parts = repositoryOf(reference).split('/');
  const paths = parts.map((_, index) => parts.slice(0, parts.length - index).join('/'));
  const host = reference.domain.replace(/:[0-9]+$/, '');
  const labels = host.split('.');
  const wildcards = labels.slice(1).map((_, index) => `*.${labels.slice(index + 1).join('.')}`);
  return [formatReference(reference), ...paths, ...wildcards];
}

async function readPolicy(path: string): Promise<Policy> {
  const text = await readFile(path, 'utf8');
  try {
    return parsePolicy(text);
  } catch (error) {
    throw wrap(`invalid policy in ${JSON.stringify(path)}`, error);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return false;
    throw error;
  }
}

/** A namespace becomes a file name: it must be one path element. */
export function pathElement(namespace: string): string {
  if (namespace.includes('/') || namespace.includes('\0') || namespace === '.' || namespace === '..')
    throw new Failure('InvalidArgument', `invalid namespace ${JSON.stringify(namespace.slice(0, 128))}`);
  return namespace;
}

function invalid(message: string): Failure {
  return new Failure('InvalidArgument', message);
}
