import { createHmac } from 'node:crypto';
import { Failure } from '../../errors/index.ts';
import type { LayerDecryption } from '../../storage/index.ts';
import { type JsonTable, parseForeignJson, tableField, textField } from '../json.ts';
import type { Descriptor } from '../manifest.ts';
import { openJwe } from './jwe.ts';
import type { DecryptionKeys } from './keys.ts';
import { openPkcs7 } from './pkcs7.ts';

const SUFFIX = '+encrypted';
const KEYS = 'org.opencontainers.image.enc.keys.';
const PUBLIC_OPTIONS = 'org.opencontainers.image.enc.pubopts';
const CIPHER = 'AES_256_CTR_HMAC_SHA256';

/** Envelopes of one layer, and bytes of one: the real ones are a few hundred bytes, and every try costs. */
const MAX_ENVELOPES = 16;
const MAX_ENVELOPE_BYTES = 64 * 1024;

const SCHEMES: ReadonlyMap<string, { readonly wants: string; readonly open: Opener }> = new Map([
  ['jwe', { wants: 'an RSA or EC private key', open: openJwe }],
  ['pkcs7', { wants: 'the RSA private key of a certificate', open: openPkcs7 }],
]);

type Opener = (
  envelope: Buffer<ArrayBuffer>,
  keys: DecryptionKeys['privateKeys'],
) => Uint8Array | undefined | Promise<Uint8Array | undefined>;

/** What one encrypted layer is read with. Secret. */
export interface LayerKey {
  readonly decryption: LayerDecryption;
  /** Tells a holder of this layer's key from others, and nothing of the key. */
  readonly proof: string;
}

/** The media type of what a layer holds: itself unless it is encrypted. */
export function plainType(mediaType: string): string {
  return mediaType.endsWith(SUFFIX) ? mediaType.slice(0, -SUFFIX.length) : mediaType;
}

/**
 * The keys of those layers that are encrypted, taken out of the envelopes in their annotations (jwe, pkcs7). Fails for the first layer
 * that cannot be decrypted, with the kinds of keys that it wants [I39, a47].
 */
export async function unwrapLayerKeys(
  layers: readonly Descriptor[],
  keys: DecryptionKeys,
  signal: AbortSignal,
): Promise<ReadonlyMap<Descriptor, LayerKey>> {
  const found = new Map<Descriptor, LayerKey>();
  for (const layer of layers) {
    signal.throwIfAborted();
    if (layer.mediaType.endsWith(SUFFIX)) found.set(layer, layerKey(layer, await openedOptions(layer, keys)));
  }
  return found;
}

/** What was encrypted for the node: the layer's own key and nonce, as JSON. */
async function openedOptions(layer: Descriptor, keys: DecryptionKeys): Promise<Uint8Array> {
  const names = [...layer.annotations.keys()].filter((name) => name.startsWith(KEYS)).map((name) => name.slice(KEYS.length));
  const schemes = names.flatMap((name) => SCHEMES.get(name)?.wants ?? []);
  if (names.length === 0) throw undecryptable(layer, 'missing Annotations needed for decryption');
  if (schemes.length === 0)
    throw undecryptable(layer, `it is encrypted for keys of the kind ${named(names)}, which are not supported`, {
      advice: 'Encrypt the image for a public key (jwe) or a certificate (pkcs7) as well.',
    });
  for (const [name, { open }] of SCHEMES) {
    for (const envelope of envelopesOf(layer, name)) {
      const options = await open(envelope, keys.privateKeys);
      if (options !== undefined) return options;
    }
  }
  const wanted = `it wants ${schemes.join(' or ')} (${named(names)})`;
  const path = keys.path === '' ? 'decryption_keys_path is not set' : `decryption_keys_path is ${keys.path}`;
  const count = keys.privateKeys.length;
  const problem =
    count === 0
      ? `missing private key needed for decryption: ${wanted}, and there is none (${path})`
      : `no suitable key unwrapper found or none of the private keys could be used for decryption: ${wanted}, and none of ${count} fits (${path})`;
  throw undecryptable(layer, problem, { advice: 'Put the private key there as a file; it is read at the next pull.' });
}

function envelopesOf(layer: Descriptor, scheme: string): readonly Buffer<ArrayBuffer>[] {
  const texts = (layer.annotations.get(`${KEYS}${scheme}`) ?? '').split(',').filter((text) => text !== '');
  if (texts.length > MAX_ENVELOPES || texts.some((text) => text.length > (MAX_ENVELOPE_BYTES * 4) / 3))
    throw undecryptable(
      layer,
      `its ${scheme} annotation has more than ${MAX_ENVELOPES} envelopes, or one of more than ${MAX_ENVELOPE_BYTES} bytes`,
    );
  return texts.map((text) => Buffer.from(text, 'base64'));
}

/** Both halves of a layer's options become what the unpacking thread needs. */
function layerKey(layer: Descriptor, opened: Uint8Array): LayerKey {
  const open = parsed(layer, Buffer.from(layer.annotations.get(PUBLIC_OPTIONS) ?? '', 'base64'), 'public options');
  const secret = parsed(layer, opened, 'private options');
  if (open.cipher !== CIPHER) throw undecryptable(layer, `unsupported cipher type: ${JSON.stringify(open.cipher.slice(0, 64))}`);
  // The nonce of the envelope first: nobody can change that.
  const [key, nonce, mac] = [secret.symkey, secret.nonce ?? open.nonce, open.hmac];
  if (mac?.length !== 32) throw undecryptable(layer, 'HMAC is not provided for decryption process');
  if (key?.length !== 32 || nonce?.length !== 16) throw undecryptable(layer, 'the key or nonce in its envelope is of a wrong length');
  return { decryption: { key, nonce, mac }, proof: createHmac('sha256', key).update(layer.digest).digest('base64url') };
}

interface CipherOptions {
  readonly cipher: string;
  readonly symkey: Buffer | undefined;
  readonly nonce: Buffer | undefined;
  readonly hmac: Buffer | undefined;
}

function parsed(layer: Descriptor, bytes: Uint8Array, what: string): CipherOptions {
  try {
    const table = parseForeignJson(bytes, what);
    const options = tableField(table, 'cipheroptions', what) ?? {};
    return {
      cipher: textField(table, 'cipher', what) ?? '',
      symkey: bytesField(table, 'symkey', what),
      hmac: bytesField(table, 'hmac', what),
      nonce: bytesField(options, 'nonce', what),
    };
  } catch {
    // Why would be told with a piece of it, which may be the key.
    throw undecryptable(layer, `its ${what} are malformed`);
  }
}

function bytesField(table: JsonTable, key: string, what: string): Buffer | undefined {
  const text = textField(table, key, what);
  return text === undefined ? undefined : Buffer.from(text, 'base64');
}

/** Names come from a registry. */
function named(names: readonly string[]): string {
  return names
    .slice(0, 8)
    .map((name) => name.slice(0, 64).replace(/[^\w.-]/g, '?'))
    .join(', ');
}

function undecryptable(layer: Descriptor, problem: string, details: { readonly advice?: string } = {}): Failure {
  return new Failure('FailedPrecondition', `decrypting layer ${layer.digest}: ${problem}`, { code: 'UNDECRYPTABLE', ...details });
}
