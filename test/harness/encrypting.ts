import { type KeyObject, createCipheriv, createHmac, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FlattenedEncrypt } from 'jose';
import { runOk } from '../../src/process/index.ts';
import type { LayerDecryption } from '../../src/storage/index.ts';
import { toolPath, unpackedTool } from './tools.ts';

/** A key pair of somebody for whom images are encrypted. */
export interface Recipient {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** As skopeo names it: `jwe:FILE` or `pkcs7:FILE`. */
  readonly forSkopeo: string;
}

/** Makes a pair, its public half in a file of `dir`. */
export function newRecipient(dir: string, name: string, kind: 'rsa' | 'P-256' | 'P-384' | 'P-521' = 'rsa'): Recipient {
  mkdirSync(dir, { recursive: true });
  const { privateKey, publicKey } =
    kind === 'rsa' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : generateKeyPairSync('ec', { namedCurve: kind });
  const file = join(dir, `${name}.pub`);
  writeFileSync(file, publicKey.export({ type: 'spki', format: 'pem' }));
  return { privateKey, publicKey, forSkopeo: `jwe:${file}` };
}

/** A certificate of an RSA key, for envelopes of PKCS #7. */
export async function newCertified(dir: string, name: string): Promise<Recipient> {
  const recipient = newRecipient(dir, name);
  const [key, certificate] = [join(dir, `${name}.key`), join(dir, `${name}.crt`)];
  writeFileSync(key, recipient.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const request = ['req', '-x509', '-new', '-key', key, '-subj', `/CN=${name}`, '-days', '2', '-out', certificate];
  await runOk(['openssl', ...request], { timeoutMs: 30_000, env: { PATH: toolPath, RANDFILE: '/dev/null' } });
  return { ...recipient, forSkopeo: `pkcs7:${certificate}` };
}

/** Debian's skopeo copies an image of a registry beside itself, encrypted; of all layers, or of those with these numbers. */
export async function encryptedCopy(
  host: string,
  from: string,
  to: string,
  recipients: readonly Recipient[],
  layers: readonly number[] = [],
): Promise<void> {
  const keys = recipients.flatMap(({ forSkopeo }) => ['--encryption-key', forSkopeo]);
  const some = layers.flatMap((number) => ['--encrypt-layer', String(number)]);
  const copy = ['copy', '--src-tls-verify=false', '--dest-tls-verify=false', ...keys, ...some];
  const names = [`docker://${host}/${from}`, `docker://${host}/${to}`];
  await runOk([unpackedTool('usr/bin/skopeo'), '--insecure-policy', ...copy, ...names], { timeoutMs: 60_000, env: { PATH: toolPath } });
}

/** A blob, encrypted as images have it: encrypt, then MAC. */
export function encrypted(plain: Uint8Array): LayerDecryption & { readonly blob: Buffer } {
  const [key, nonce] = [randomBytes(32), randomBytes(16)];
  const cipher = createCipheriv('aes-256-ctr', key, nonce);
  const blob = Buffer.concat([cipher.update(plain), cipher.final()]);
  return { blob, key, nonce, mac: createHmac('sha256', key).update(blob).digest() };
}

/** The annotations of a layer that a recipient can decrypt so. */
export async function annotationsFor({ publicKey }: Recipient, { key, nonce, mac }: LayerDecryption): Promise<Record<string, string>> {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  const secret = { symkey: base64(key), digest: '', cipheroptions: { nonce: base64(nonce) } };
  const jwe = await new FlattenedEncrypt(Buffer.from(JSON.stringify(secret)))
    .setProtectedHeader({ alg: publicKey.asymmetricKeyType === 'rsa' ? 'RSA-OAEP' : 'ECDH-ES+A256KW', enc: 'A256GCM' })
    .encrypt(publicKey);
  const open = { cipher: 'AES_256_CTR_HMAC_SHA256', hmac: base64(mac), cipheroptions: {} };
  return {
    'org.opencontainers.image.enc.keys.jwe': base64(Buffer.from(JSON.stringify(jwe))),
    'org.opencontainers.image.enc.pubopts': base64(Buffer.from(JSON.stringify(open))),
  };
}
