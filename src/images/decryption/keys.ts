import { type KeyObject, X509Certificate, createPrivateKey } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, codeOf, wrap } from '../../errors/index.ts';

/** What the node can decrypt layers with. */
export interface DecryptionKeys {
  /** `decryption_keys_path`, for errors. */
  readonly path: string;
  readonly privateKeys: readonly KeyObject[];
}

const MAX_KEY_BYTES = 1024 * 1024;

/**
 * Reads every file at or below `decryption_keys_path`, in lexical order: private keys (PEM or DER in PKCS #8, PKCS #1 or SEC 1, or
 * a JWK), certificates (no more needed than their key) and key rings (which nothing here can use). A path that is not there means
 * no keys. Fails with FailedPrecondition for anything else in it [I39].
 */
export async function readDecryptionKeys(path: string): Promise<DecryptionKeys> {
  const privateKeys: KeyObject[] = [];
  for (const file of (await exists(path)) ? await filesBelow(path) : []) {
    const key = parseKey(await contentsOf(file), file);
    if (key !== undefined) privateKeys.push(key);
  }
  return { path, privateKeys };
}

async function exists(path: string): Promise<boolean> {
  if (path === '') return false;
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw wrap('reading decryption_keys_path', error, 'FailedPrecondition');
  }
}

async function filesBelow(path: string): Promise<string[]> {
  const entry = await lstat(path).catch((error: unknown) => {
    throw wrap('reading decryption_keys_path', error, 'FailedPrecondition');
  });
  if (entry.isSymbolicLink()) throw symbolicLink(path);
  if (!entry.isDirectory()) return [path];
  const names = await readdir(path).catch((error: unknown) => {
    throw wrap('reading decryption_keys_path', error, 'FailedPrecondition');
  });
  const files: string[] = [];
  for (const name of names.toSorted()) files.push(...(await filesBelow(join(path, name))));
  return files;
}

async function contentsOf(file: string): Promise<Buffer> {
  try {
    await using handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const { size } = await handle.stat().then((found) => {
      if (!found.isFile()) throw new Failure('FailedPrecondition', `${file} is no regular file`);
      return found;
    });
    if (size > MAX_KEY_BYTES) throw new Failure('FailedPrecondition', `${file} is larger than ${MAX_KEY_BYTES} bytes`);
    return await handle.readFile();
  } catch (error) {
    if (codeOf(error) === 'ELOOP') throw symbolicLink(file);
    throw wrap('read private key file', error, 'FailedPrecondition');
  }
}

function symbolicLink(path: string): Failure {
  return new Failure('FailedPrecondition', `symbolic links not supported in decryption keys paths: ${path}`, {
    advice: 'Put the key itself there, or point decryption_keys_path at the directory in which it lies.',
  });
}

/** undefined for what is known and is no private key. Errors say nothing of the contents. */
function parseKey(bytes: Buffer, file: string): KeyObject | undefined {
  if (isKeyRing(bytes) || isTokenReference(bytes)) return undefined;
  if (/^-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(bytes.toString('latin1', 0, 4096)))
    throw new Failure('FailedPrecondition', `Missing password for encrypted private key: ${file}`, {
      advice: 'Store the key without a passphrase, readable by root only: nobody can type one here.',
    });
  for (const read of FORMS) {
    try {
      return read(bytes);
    } catch {
      // The next form may fit.
    }
  }
  if (isCertificate(bytes)) return undefined;
  throw new Failure('FailedPrecondition', `Unknown decryption key type: ${file}`, {
    advice: 'Keep nothing but private keys (PEM, DER or JWK) and certificates below decryption_keys_path.',
  });
}

const FORMS: readonly ((key: Buffer) => KeyObject)[] = [
  (key) => createPrivateKey({ key, format: 'pem' }),
  (key) => createPrivateKey({ key, format: 'der', type: 'pkcs8' }),
  (key) => createPrivateKey({ key, format: 'der', type: 'pkcs1' }),
  (key) => createPrivateKey({ key, format: 'der', type: 'sec1' }),
  (key) => createPrivateKey({ key: JSON.parse(key.toString('utf8')) as Record<string, string>, format: 'jwk' }),
];

function isCertificate(bytes: Buffer): boolean {
  try {
    return new X509Certificate(bytes).raw.length > 0;
  } catch {
    return false;
  }
}

/** OpenPGP keys: as text, or the packet of a secret or public key (RFC 9580 §4.2). */
function isKeyRing(bytes: Buffer): boolean {
  const [first = 0] = bytes;
  if (/^-----BEGIN PGP (PRIVATE|PUBLIC) KEY BLOCK-----/m.test(bytes.toString('latin1', 0, 1024))) return true;
  const tag = (first & 0xc0) === 0xc0 ? first & 0x3f : (first & 0x80) === 0 ? 0 : (first >> 2) & 0xf;
  return tag === 5 || tag === 6;
}

/** A file that names a key inside of a token, PKCS #11. */
function isTokenReference(bytes: Buffer): boolean {
  return /^\s*uri:\s*["']?pkcs11:/m.test(bytes.toString('latin1', 0, 4096));
}
