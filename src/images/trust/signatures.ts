import { Failure } from '../../errors/index.ts';
import { parseForeignJson, textField, textMapField } from '../json.ts';

/** A signature as it was found; nothing in it is verified. */
export type Signature =
  /** An OpenPGP message that holds its payload. */
  | { readonly kind: 'simple'; readonly message: Buffer }
  | {
      readonly kind: 'sigstore';
      readonly mediaType: string;
      readonly payload: Buffer;
      readonly annotations: ReadonlyMap<string, string>;
    };

/** Signatures of one manifest that are looked at; more are refused. */
export const MAX_SIGNATURES = 128;
/** Bytes of one signature, and of a list of them [I42]. */
export const MAX_SIGNATURE_BYTES = 4 * 1024 * 1024;

const SIGSTORE_HEAD = Buffer.from('\0sigstore-json\n');

/** Reads a blob of a lookaside or of the store. Fails for a format that is not known. */
export function decodeSignature(blob: Buffer): Signature {
  if (blob[0] !== 0) return { kind: 'simple', message: blob };
  if (!blob.subarray(0, SIGSTORE_HEAD.length).equals(SIGSTORE_HEAD))
    throw new Failure('Unimplemented', `unrecognized signature format, starting ${JSON.stringify(blob.toString('latin1', 0, 32))}`);
  const what = 'sigstore signature';
  const table = parseForeignJson(blob.subarray(SIGSTORE_HEAD.length), what);
  return {
    kind: 'sigstore',
    mediaType: textField(table, 'mimeType', what) ?? '',
    payload: Buffer.from(textField(table, 'payload', what) ?? '', 'base64'),
    annotations: textMapField(table, 'annotations', what),
  };
}

/** The blob that the store keeps (docs/reference/cri-o-ondisk.md §1.3), which other tools read too. */
export function encodeSignature(signature: Signature): Buffer {
  if (signature.kind === 'simple') return signature.message;
  const { mediaType, payload, annotations } = signature;
  const document = { mimeType: mediaType, payload: payload.toString('base64'), annotations: Object.fromEntries(annotations) };
  return Buffer.concat([SIGSTORE_HEAD, Buffer.from(JSON.stringify(document))]);
}

/** Cuts a data item of the store into the signatures that its record says the sizes of. */
export function splitStored(item: Buffer, sizes: readonly number[]): readonly Signature[] {
  if (sizes.reduce((sum, size) => sum + size, 0) !== item.length || sizes.some((size) => size <= 0))
    throw new Failure('Internal', `stored signatures of ${item.length} bytes do not have the sizes ${sizes.join(', ')}`);
  let at = 0;
  return sizes.map((size) => decodeSignature(item.subarray(at, (at += size))));
}
