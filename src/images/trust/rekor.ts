import { type KeyObject, createHash, createPublicKey, verify, X509Certificate } from 'node:crypto';
import { Failure } from '../../errors/index.ts';
import { type JsonTable, asTable, field, parseForeignJson, textField } from '../json.ts';
import { exactBase64, exactly } from './payload.ts';

/** A signature that a transparency log says it has: all of it must be in the log's entry. */
export interface LoggedSignature {
  /** The annotation: what was logged, and the log's signature of that. */
  readonly bundle: string;
  /** PEM of the key or certificate that signed. */
  readonly signer: string;
  /** base64 */
  readonly signature: string;
  readonly payload: Buffer;
}

/**
 * When a log whose key we know logged one of these: its signed promise is verified, and that its entry is about this signer,
 * this signature and this payload; any other entry proves nothing [a48]. Fails with PermissionDenied (INVALID_SIGNATURE).
 */
export function loggedAt(candidates: readonly LoggedSignature[], logKeys: readonly KeyObject[]): Date {
  let last: unknown = refused('Rekor SET: no entry');
  for (const candidate of candidates) {
    try {
      return verifiedTime(candidate, logKeys);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

function verifiedTime(logged: LoggedSignature, logKeys: readonly KeyObject[]): Date {
  const what = 'Rekor SET';
  const bundle = parseForeignJson(Buffer.from(logged.bundle), what);
  exactly(bundle, ['SignedEntryTimestamp', 'Payload'], what);
  const promise = exactBase64(textField(bundle, 'SignedEntryTimestamp', what) ?? '', what);
  const entry = asTable(field(bundle, 'Payload'), what);
  exactly(entry, ['body', 'integratedTime', 'logIndex', 'logID'], what);
  const signed = Buffer.from(canonical(entry));
  if (!logKeys.some((key) => isVerified(signed, key, promise))) throw refused(`${what}: cryptographic verification failed`);
  checkBody(textField(entry, 'body', what) ?? '', logged);
  const time = field(entry, 'integratedTime');
  if (typeof time !== 'number' || !Number.isSafeInteger(time)) throw refused(`${what}: no integratedTime`);
  return new Date(time * 1000);
}

function isVerified(signed: Buffer, key: KeyObject, promise: Buffer): boolean {
  try {
    return verify('sha256', signed, key, promise);
  } catch {
    return false;
  }
}

/** Canonical JSON of an entry: sorted keys, no spaces; its values are texts in ASCII and whole numbers. */
function canonical(entry: JsonTable): string {
  const members = Object.keys(entry)
    .sort()
    .map((key) => {
      const value = entry[key];
      if (typeof value !== 'string' && !Number.isSafeInteger(value)) throw refused('Rekor SET: odd payload');
      return `${JSON.stringify(key)}:${JSON.stringify(value)}`;
    });
  return `{${members.join(',')}}`;
}

/** A `hashedrekord` of exactly this. */
function checkBody(body: string, { signer, signature, payload }: LoggedSignature): void {
  const what = 'Rekor entry';
  const record = parseForeignJson(exactBase64(body, what), what);
  exactly(record, ['apiVersion', 'kind', 'spec'], what);
  if (field(record, 'kind') !== 'hashedrekord' || field(record, 'apiVersion') !== '0.0.1')
    throw refused(`${what}: unexpected kind ${JSON.stringify(field(record, 'kind'))}`);
  const spec = asTable(field(record, 'spec'), what);
  const data = asTable(field(asTable(field(spec, 'data'), what), 'hash'), what);
  if (field(data, 'algorithm') !== 'sha256' || field(data, 'value') !== createHash('sha256').update(payload).digest('hex'))
    throw refused(`${what}: it is about another payload`);
  const logged = asTable(field(spec, 'signature'), what);
  if (textField(logged, 'content', what) !== signature) throw refused(`${what}: it is about another signature`);
  const key = textField(asTable(field(logged, 'publicKey'), what), 'content', what) ?? '';
  if (!derOf(Buffer.from(key, 'base64').toString('utf8')).equals(derOf(signer))) throw refused(`${what}: it is about another signer`);
}

/** The bytes that a PEM text of a key or certificate stands for. */
function derOf(pem: string): Buffer {
  try {
    if (pem.includes('BEGIN CERTIFICATE')) return new X509Certificate(pem).raw;
    return createPublicKey(pem).export({ type: 'spki', format: 'der' });
  } catch (error) {
    throw new Failure('PermissionDenied', 'Rekor entry: neither a key nor a certificate', { code: 'INVALID_SIGNATURE', cause: error });
  }
}

function refused(message: string): Failure {
  return new Failure('PermissionDenied', message, { code: 'INVALID_SIGNATURE' });
}
