import { Failure } from '../../errors/index.ts';
import { parseDigest, type Digest } from '../../ids/index.ts';
import { type JsonTable, asTable, field, parseForeignJson, textField } from '../json.ts';

/** What a signature signs: this manifest, under this name. To be believed only when the signature was verified. */
export interface SignedClaim {
  readonly digest: Digest;
  readonly reference: string;
}

const SIMPLE_SIGNING = 'atomic container signature';
const SIGSTORE = 'cosign container image signature';

/** Reads a payload; more than the known keys is refused, so that nothing in it can be meant otherwise than we read it. */
export function parsePayload(bytes: Uint8Array, kind: 'simple signing' | 'sigstore'): SignedClaim {
  const what = `${kind} payload`;
  const table = parseForeignJson(bytes, what);
  exactly(table, ['critical', 'optional'], what);
  const critical = tableOf(table, 'critical', what);
  exactly(critical, ['type', 'image', 'identity'], what);
  const type = textField(critical, 'type', what) ?? '';
  if (type !== (kind === 'sigstore' ? SIGSTORE : SIMPLE_SIGNING)) throw invalid(`Unrecognized signature type ${JSON.stringify(type)}`);
  const image = tableOf(critical, 'image', what);
  exactly(image, ['docker-manifest-digest'], what);
  const identity = tableOf(critical, 'identity', what);
  exactly(identity, ['docker-reference'], what);
  const digest = parseDigest(textField(image, 'docker-manifest-digest', what) ?? '');
  const reference = textField(identity, 'docker-reference', what);
  if (digest === undefined || reference === undefined) throw invalid(`${what}: no digest or no reference`);
  return { digest, reference };
}

function tableOf(table: JsonTable, key: string, what: string): JsonTable {
  return asTable(field(table, key), `${what}: ${key}`);
}

/** These keys and no others; parseForeignJson has refused duplicates. */
export function exactly(table: JsonTable, keys: readonly string[], what: string): void {
  const odd = Object.keys(table).find((key) => !keys.includes(key)) ?? keys.find((key) => !Object.hasOwn(table, key));
  if (odd !== undefined) throw invalid(`${what}: unexpected or missing key ${JSON.stringify(odd.slice(0, 64))}`);
}

/** The bytes of a base64 text that has one spelling only: decoders that pass over what they do not know let texts vary. */
export function exactBase64(text: string, what: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length === 0 || bytes.toString('base64') !== text) throw invalid(`${what}: no base64 text`);
  return bytes;
}

function invalid(message: string): Failure {
  return new Failure('PermissionDenied', message, { code: 'INVALID_SIGNATURE' });
}
