import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import { type RunResult, run } from '../../process/index.ts';
import type { KeySource } from './requirements.ts';

const GPGV_TIMEOUT_MS = 30_000;
const MAX_PAYLOAD = 4 * 1024 * 1024;
const MAX_STATUS = 32 * 1024;
const MAX_KEYRING = 16 * 1024 * 1024;

/** What gpgv may say of a good message; any other word (expired, revoked, bad, unknown key, a second text …) refuses it. */
const HARMLESS: ReadonlySet<string> = new Set([
  'NEWSIG',
  'KEY_CONSIDERED',
  'SIG_ID',
  'GOODSIG',
  'VALIDSIG',
  'PLAINTEXT',
  'PLAINTEXT_LENGTH',
  'VERIFICATION_COMPLIANCE_MODE',
]);

/**
 * The text of an OpenPGP message that exactly one of these keys has signed, verified by `gpgv` in a process of its own: what
 * parses a stranger's packets shall not be the daemon. Fails with PermissionDenied (INVALID_SIGNATURE) for everything less.
 */
export async function verifiedText(message: Buffer, keys: KeySource, signal?: AbortSignal): Promise<Buffer> {
  const dir = await mkdtemp(join(tmpdir(), 'crio-gpg-'));
  try {
    const rings: string[] = [];
    for (const [index, ring] of (await keyrings(keys)).entries()) {
      const path = join(dir, `ring-${index}.gpg`);
      await writeFile(path, ring, { mode: 0o600 });
      rings.push('--keyring', path);
    }
    const options = ['--homedir', dir, '--status-fd', '2', '--output', '-', ...rings];
    const result = await gpgv([...options, '-'], message, signal);
    judge(result.stderr, result.code);
    return result.stdout;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function gpgv(args: readonly string[], message: Buffer, signal: AbortSignal | undefined): Promise<RunResult> {
  const limits = { timeoutMs: GPGV_TIMEOUT_MS, maxOutput: MAX_PAYLOAD, ...(signal === undefined ? {} : { signal }) };
  try {
    return await run(['gpgv', ...args], { stdin: message, ...limits });
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    throw new Failure('FailedPrecondition', 'verifying a GPG signature: gpgv is not installed', {
      cause: error,
      advice: 'Install gpgv (Debian) or gnupg2 (Fedora): policy.json asks for GPG signatures.',
    });
  }
}

function judge(stderr: string, code: number | null): void {
  // More than this was cut off at its beginning, where something bad may have stood.
  if (stderr.length > MAX_STATUS) throw refused('Invalid GPG signature: too much to say about it');
  const lines = stderr.split('\n').flatMap((line) => (line.startsWith('[GNUPG:] ') ? [line.slice(9).split(' ')] : []));
  const words = lines.map(([word = '']) => word);
  const count = (wanted: string) => words.filter((word) => word === wanted).length;
  const unknown = lines.find(([word]) => word === 'NO_PUBKEY');
  if (unknown !== undefined) throw refused(`Signature by key ${unknown[1] ?? '?'} is not accepted`);
  const odd = words.find((word) => !HARMLESS.has(word));
  if (odd !== undefined) throw refused(`Invalid GPG signature (${odd})`);
  if (code !== 0 || count('GOODSIG') !== 1 || count('VALIDSIG') !== 1 || count('PLAINTEXT') !== 1) throw refused('Invalid GPG signature');
}

async function keyrings({ paths, data }: KeySource): Promise<readonly Buffer[]> {
  const files = paths.map(async (path) => {
    try {
      return await readFile(path);
    } catch (error) {
      throw wrap(`reading GPG keys ${path}`, error, 'FailedPrecondition');
    }
  });
  const all = [...(await Promise.all(files)), ...data].map(dearmored);
  if (all.some((ring) => ring.length === 0 || ring.length > MAX_KEYRING))
    throw new Failure('FailedPrecondition', 'No public keys imported');
  return all;
}

/** gpgv reads binary key rings only; people export them as text. */
function dearmored(ring: Buffer): Buffer {
  if (!ring.subarray(0, 2048).includes('-----BEGIN PGP PUBLIC KEY BLOCK-----')) return ring;
  const blocks = ring.toString('latin1').matchAll(/-----BEGIN PGP PUBLIC KEY BLOCK-----([\s\S]*?)-----END PGP PUBLIC KEY BLOCK-----/g);
  const bodies = [...blocks].map(([, text = '']) => {
    const body = text.slice(text.search(/\r?\n\r?\n/)).trim();
    return Buffer.from(body.replace(/\r?\n=[A-Za-z0-9+/]{4}$/, ''), 'base64');
  });
  return Buffer.concat(bodies);
}

function refused(message: string): Failure {
  return new Failure('PermissionDenied', message, { code: 'INVALID_SIGNATURE' });
}
