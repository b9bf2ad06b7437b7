import { stat, statfs } from 'node:fs/promises';
import { Failure, codeOf, textOf, wrap } from '../../errors/index.ts';
import { exitFailure, run } from '../../process/index.ts';
import { type Json, isObject, property } from './json.ts';
import type { Deadline } from './plugins.ts';
import { type CniResult, readResult } from './result.ts';
import { CNI_VERSION } from './version.ts';

const NSFS = 0x6e736673;
const PROCFS = 0x9fa0;

/** What is at a namespace's path: a namespace, nothing, or something that is none [D103, H50]. */
export type NamespaceAt = { readonly kind: 'namespace'; readonly id: string } | { readonly kind: 'missing' | 'other' };

/** `id` is `<device>:<inode>`, in hexadecimal and decimal: as long as the namespace lives no other has it. */
export async function namespaceAt(path: string): Promise<NamespaceAt> {
  try {
    const [{ type }, { dev, ino }] = await Promise.all([statfs(path), stat(path, { bigint: true })]);
    return type === NSFS || type === PROCFS ? { kind: 'namespace', id: `${dev.toString(16)}:${ino}` } : { kind: 'other' };
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return { kind: 'missing' };
    throw error;
  }
}

/**
 * The path if plugins may be told of it, else '': not what leads to another namespace than the one that was attached, and not
 * a process' namespace that nobody noted the identity of, because its PID may be a stranger's by now (needs p34).
 */
export async function pathOfAttached({ netns, netnsId }: { readonly netns: string; readonly netnsId: string }): Promise<string> {
  if (netns === '') return '';
  const found = await namespaceAt(netns);
  if (found.kind === 'other') return '';
  if (netnsId === '') return netns.startsWith('/proc/') ? '' : netns;
  return found.kind === 'namespace' && found.id !== netnsId ? '' : netns;
}

/** For namespaces that came without `lo` up [H26]: a helper inside, because this process cannot enter them itself. */
export async function bringLoopbackUp(netns: string, env: Readonly<Record<string, string>>, deadline: Deadline): Promise<void> {
  try {
    const shown = await inside(netns, ['ip', '-j', 'addr', 'show', 'dev', 'lo'], env, deadline);
    const foreign = addressesIn(shown).find((address) => !address.startsWith('127.') && !address.startsWith('::1/'));
    if (foreign !== undefined)
      throw new Failure('Unknown', `loopback interface found with non-loopback address ${JSON.stringify(foreign.split('/')[0])}`);
    await inside(netns, ['ip', 'link', 'set', 'dev', 'lo', 'up'], env, deadline);
  } catch (error) {
    throw wrap('error adding loopback interface', error);
  }
}

/** The global addresses of a pod's interface, for an attachment whose result nobody kept [H39]. */
export async function resultFromInside(
  netns: string,
  ifName: string,
  env: Readonly<Record<string, string>>,
  deadline: Deadline,
): Promise<CniResult> {
  let shown: string;
  try {
    shown = await inside(netns, ['ip', '-j', 'addr', 'show', 'dev', ifName, 'scope', 'global'], env, deadline);
  } catch (error) {
    throw new Failure('Unknown', `neither IPv4 nor IPv6 found when retrieving network status: [${textOf(error)}]`, { cause: error });
  }
  const ips = addressesIn(shown).map((address) => ({ interface: 0, address }));
  if (ips.length === 0) throw new Failure('Unknown', 'neither IPv4 nor IPv6 found when retrieving network status: []');
  return readResult({ cniVersion: CNI_VERSION, interfaces: [{ name: ifName, sandbox: netns }], ips }, CNI_VERSION);
}

/** `address/prefix` of every address in `ip -j addr`, IPv4 before IPv6. */
export function addressesIn(shown: string): readonly string[] {
  const links = JSON.parse(shown) as Json;
  const found: string[] = [];
  for (const link of Array.isArray(links) ? (links as readonly Json[]) : []) {
    const infos = isObject(link) ? property(link, 'addr_info') : undefined;
    for (const info of Array.isArray(infos) ? (infos as readonly Json[]) : []) {
      const [local, prefix] = isObject(info) ? [property(info, 'local'), property(info, 'prefixlen')] : [];
      if (typeof local === 'string' && typeof prefix === 'number') found.push(`${local}/${prefix}`);
    }
  }
  return [...found.filter((address) => !address.includes(':')), ...found.filter((address) => address.includes(':'))];
}

async function inside(netns: string, argv: readonly string[], env: Readonly<Record<string, string>>, deadline: Deadline): Promise<string> {
  const command = ['nsenter', `--net=${netns}`, '-F', '--', ...argv] as const;
  const timeoutMs = Math.max(1, Math.ceil(deadline.at - performance.now()));
  const result = await run(command, { env, timeoutMs, ...(deadline.signal === undefined ? {} : { signal: deadline.signal }) });
  if (result.code !== 0) throw exitFailure(command, result);
  return result.stdout.toString('utf8');
}
