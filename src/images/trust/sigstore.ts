import { type KeyObject, createPublicKey, verify } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Failure, textOf, wrap } from '../../errors/index.ts';
import { leafKey } from './certificates.ts';
import { exactBase64 } from './payload.ts';
import { type LoggedSignature, loggedAt } from './rekor.ts';
import type { KeySource, SigstoreTrust } from './requirements.ts';
import type { Signature } from './signatures.ts';

/** The only media type of a payload that is understood. */
const PAYLOAD_TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json';

const ANNOTATION = {
  signature: 'dev.cosignproject.cosign/signature',
  log: 'dev.sigstore.cosign/bundle',
  certificate: 'dev.sigstore.cosign/certificate',
  chain: 'dev.sigstore.cosign/chain',
} as const;

/**
 * The payload of a sigstore signature, verified against keys or certificates and, where the policy has keys of a transparency
 * log, against that log's promise [I30]. Fails with PermissionDenied (INVALID_SIGNATURE) for everything less.
 */
export async function verifiedPayload(
  signature: Signature & { readonly kind: 'sigstore' },
  trust: SigstoreTrust,
  rekor: KeySource | undefined,
): Promise<Buffer> {
  const { payload, mediaType } = signature;
  if (mediaType !== PAYLOAD_TYPE) throw refused(`Unexpected signature MIME type ${JSON.stringify(mediaType.slice(0, 128))}`);
  const signed = annotation(signature, ANNOTATION.signature);
  const proof = exactBase64(signed, ANNOTATION.signature);
  const logKeys = rekor === undefined ? undefined : await publicKeys(rekor);
  const entry = (signer: string): LoggedSignature => ({
    bundle: annotation(signature, ANNOTATION.log),
    signer,
    signature: signed,
    payload,
  });
  if (trust.kind === 'keys') {
    const keys = await publicKeys(trust.keys);
    const signers = keys.filter((key) => isSignedBy(payload, proof, key));
    if (signers.length === 0) throw refused('cryptographic signature verification failed: invalid signature');
    if (logKeys !== undefined) loggedAt(entryOfOne(signers, entry), logKeys);
    return payload;
  }
  const certificate = annotation(signature, ANNOTATION.certificate);
  const chain = signature.annotations.get(ANNOTATION.chain) ?? '';
  const at = logKeys === undefined ? new Date() : loggedAt([entry(certificate)], logKeys);
  const key = await leafKey({ certificate, chain, at }, trust);
  if (!isSignedBy(payload, proof, key)) throw refused('cryptographic signature verification failed: invalid signature');
  return payload;
}

/** One entry for each key that may have been logged with it. */
function entryOfOne(keys: readonly KeyObject[], entry: (signer: string) => LoggedSignature): readonly LoggedSignature[] {
  return keys.map((key) => entry(key.export({ type: 'spki', format: 'pem' }).toString()));
}

function isSignedBy(payload: Buffer, proof: Buffer, key: KeyObject): boolean {
  const algorithm = key.asymmetricKeyType === 'ed25519' ? undefined : 'sha256';
  try {
    return verify(algorithm, payload, key, proof);
  } catch {
    return false; // A signature of another form than the key's.
  }
}

function annotation(signature: Signature & { readonly kind: 'sigstore' }, name: string): string {
  const text = signature.annotations.get(name);
  if (text === undefined || text === '') throw refused(`missing ${name} annotation`);
  return text;
}

/** PEM public keys of files and of the policy itself. */
export async function publicKeys({ paths, data }: KeySource): Promise<readonly KeyObject[]> {
  const read = async (path: string) => {
    try {
      return await readFile(path);
    } catch (error) {
      throw wrap(`reading public key ${path}`, error, 'FailedPrecondition');
    }
  };
  const texts = [...(await Promise.all(paths.map(read))), ...data];
  return texts.map((text) => {
    try {
      const key = createPublicKey(text);
      if (text.includes('PRIVATE KEY')) throw new Error('it is a private key');
      return key;
    } catch (error) {
      throw new Failure('FailedPrecondition', `parsing public key: ${textOf(error)}`, { cause: error });
    }
  });
}

function refused(message: string): Failure {
  return new Failure('PermissionDenied', message, { code: 'INVALID_SIGNATURE' });
}
