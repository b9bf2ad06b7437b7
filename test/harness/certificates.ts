import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runOk } from '../../src/process/index.ts';
import { toolPath } from './tools.ts';

export interface Pair {
  /** Paths of PEM files. */
  readonly certificate: string;
  readonly key: string;
}

/** A certificate authority of a test, in a directory of its own. */
export class Authority {
  readonly dir: string;
  readonly #own: Pair;

  private constructor(dir: string) {
    this.dir = dir;
    this.#own = { certificate: join(dir, 'ca.crt'), key: join(dir, 'ca.key') };
  }

  static async make(dir: string): Promise<Authority> {
    mkdirSync(dir, { recursive: true });
    const authority = new Authority(dir);
    const { certificate, key } = authority.#own;
    await openssl('req', '-x509', ...NEW_KEY, '-keyout', key, '-out', certificate, '-days', '2', '-subj', '/CN=test authority');
    return authority;
  }

  /** PEM file of the root. */
  get root(): string {
    return this.#own.certificate;
  }

  /** A certificate for 127.0.0.1 and localhost, good for servers, clients and signing. */
  async issue(name: string): Promise<Pair> {
    const at = (suffix: string) => join(this.dir, `${name}.${suffix}`);
    writeFileSync(at('ext'), 'subjectAltName = IP:127.0.0.1, DNS:localhost\n');
    await openssl('req', ...NEW_KEY, '-keyout', at('key'), '-out', at('csr'), '-subj', `/CN=${name}`);
    const signed = ['-CA', this.#own.certificate, '-CAkey', this.#own.key, '-CAcreateserial', '-days', '2', '-extfile', at('ext')];
    await openssl('x509', '-req', '-in', at('csr'), ...signed, '-out', at('crt'));
    return { certificate: at('crt'), key: at('key') };
  }
}

/** The texts of a pair, as Node's servers want them. */
export function pemOf(pair: Pair): { cert: string; key: string } {
  return { cert: readFileSync(pair.certificate, 'utf8'), key: readFileSync(pair.key, 'utf8') };
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

async function openssl(...args: string[]): Promise<void> {
  await runOk(['openssl', ...args], { timeoutMs: 30_000, env: { PATH: toolPath, RANDFILE: '/dev/null' } });
}
