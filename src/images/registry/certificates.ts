import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, codeOf } from '../../errors/index.ts';

/** How TLS peers are judged, and what we show them. */
export interface Trust {
  /** Differs whenever anything in it differs: keeps connections of different trust apart. */
  readonly id: string;
  /** Certificates are not verified, and plain HTTP is allowed [I18]. */
  readonly insecure: boolean;
  /** PEM texts in addition to the system's roots. */
  readonly ca: readonly string[];
  readonly client: readonly { readonly cert: string; readonly key: string }[];
}

/**
 * The TLS files of a host: `<dir>/<host:port>` of the first directory that has it; `*.crt` are roots, `*.cert`
 * with `*.key` our own certificates [I19]. Read at each pull, so that renewed files count.
 */
export async function loadTrust(host: string, insecure: boolean, dirs: readonly string[]): Promise<Trust> {
  for (const dir of dirs) {
    const path = join(dir, host);
    const names = await namesIn(path);
    if (names !== undefined) return await readTrust(path, names, insecure);
  }
  return trustOf(insecure, [], []);
}

/** The same roots without our certificate: for token servers and redirects to other hosts [a44]. */
export function withoutClient(trust: Trust): Trust {
  return trust.client.length === 0 ? trust : trustOf(trust.insecure, trust.ca, []);
}

async function readTrust(dir: string, names: readonly string[], insecure: boolean): Promise<Trust> {
  const has = new Set(names);
  const ca: string[] = [];
  const client: { cert: string; key: string }[] = [];
  for (const name of names) {
    const stem = name.replace(/\.(cert|key)$/, '');
    if (name.endsWith('.crt')) ca.push(await readFile(join(dir, name), 'utf8'));
    if (name.endsWith('.cert')) {
      if (!has.has(`${stem}.key`))
        throw incomplete(`missing key ${stem}.key for client certificate ${name}. Note that CA certificates should use the extension .crt`);
      client.push({ cert: await readFile(join(dir, name), 'utf8'), key: await readFile(join(dir, `${stem}.key`), 'utf8') });
    }
    if (name.endsWith('.key') && !has.has(`${stem}.cert`)) throw incomplete(`missing client certificate ${stem}.cert for key ${name}`);
  }
  return trustOf(insecure, ca, client);
}

function trustOf(insecure: boolean, ca: readonly string[], client: Trust['client']): Trust {
  const id = createHash('sha256')
    .update(JSON.stringify([insecure, ca, client]))
    .digest('base64url');
  return { id, insecure, ca, client };
}

async function namesIn(dir: string): Promise<readonly string[] | undefined> {
  try {
    return (await readdir(dir)).sort();
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === 'EACCES') return [];
    throw error;
  }
}

function incomplete(message: string): Failure {
  return new Failure('FailedPrecondition', message, { advice: 'A client certificate is a pair of files, NAME.cert and NAME.key.' });
}
