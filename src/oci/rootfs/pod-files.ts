import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import type { Owner } from '../../linux/index.ts';
import { changeOwner } from './accessible.ts';
import type { DNSConfig } from '../spec/index.ts';

/**
 * resolv.conf of a pod [D47]: search, nameservers, options; undefined when the request says nothing and the host's is
 * to be copied. Each entry must be one word or, for options, one line without control characters [a21].
 */
export function resolvConf(dns: DNSConfig | undefined): string | undefined {
  if (dns === undefined || (dns.servers.length === 0 && dns.searches.length === 0 && dns.options.length === 0)) return undefined;
  for (const entry of [...dns.servers, ...dns.searches, ...dns.options]) {
    // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
    if (/[\u0000-\u0020\u007f\u0085\u2028\u2029]/.test(entry))
      throw new Failure('InvalidArgument', `create resolv conf: DNS entry ${JSON.stringify(entry)} is not one word`);
  }
  let text = '';
  if (dns.searches.length > 0) text += `search ${dns.searches.join(' ')}\n`;
  for (const server of dns.servers) text += `nameserver ${server}\n`;
  if (dns.options.length > 0) text += `options ${dns.options.join(' ')}\n`;
  return text;
}

/** Writes `<runDir>/resolv.conf`, 0644, and answers its path. Error prefix `create resolv conf`. */
export async function writeResolvConf(runDir: string, dns: DNSConfig | undefined, owner?: Owner): Promise<string> {
  const path = join(runDir, 'resolv.conf');
  const text = resolvConf(dns);
  try {
    await writeOwned(path, text ?? (await hostResolvConf()), owner);
  } catch (error) {
    throw wrap('create resolv conf', error);
  }
  return path;
}

async function hostResolvConf(): Promise<Buffer> {
  try {
    return await readFile('/etc/resolv.conf');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
}

/** Writes `<runDir>/hostname`, 0644, one line, and answers its path [D54]. */
export async function writeHostname(runDir: string, hostname: string, owner?: Owner): Promise<string> {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u0020\u007f\u0085\u2028\u2029/]/.test(hostname))
    throw new Failure('InvalidArgument', `hostname ${JSON.stringify(hostname)} holds characters that no host name has`);
  const path = join(runDir, 'hostname');
  await writeOwned(path, `${hostname}\n`, owner);
  return path;
}

/** Makes the empty `<directory>/.containerenv` and answers its path [D55]. */
export async function writeContainerEnv(directory: string): Promise<string> {
  const path = join(directory, '.containerenv');
  await writeOwned(path, '', undefined);
  return path;
}

async function writeOwned(path: string, content: string | Uint8Array, owner: Owner | undefined): Promise<void> {
  await writeFile(path, content, { mode: 0o644 });
  if (owner !== undefined) await changeOwner(path, owner);
}
