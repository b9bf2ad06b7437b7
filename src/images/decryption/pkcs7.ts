import { type KeyObject, constants, createDecipheriv, privateDecrypt } from 'node:crypto';
import { ASN1Obj } from '@sigstore/core';

const ENVELOPED_DATA = '1.2.840.113549.1.7.3';
const RSA = '1.2.840.113549.1.1.1';
/** AES-GCM, by key length. */
const CIPHERS: ReadonlyMap<string, 'aes-128-gcm' | 'aes-256-gcm'> = new Map([
  ['2.16.840.1.101.3.4.1.6', 'aes-128-gcm'],
  ['2.16.840.1.101.3.4.1.46', 'aes-256-gcm'],
]);
const TAG_BYTES = 16;
const MAX_RECIPIENTS = 64;

interface Envelope {
  readonly cipher: 'aes-128-gcm' | 'aes-256-gcm';
  readonly nonce: Buffer;
  readonly content: Buffer;
  /** The content's key, for each recipient. */
  readonly wrapped: readonly Buffer[];
}

/**
 * Opens an envelope of PKCS #7 (RFC 5652 §6) as images carry it: RSA, AES-GCM with its tag behind the content; undefined where no
 * key fits or it is something else. Which recipient is meant is not asked: a certificate beside the key is not needed.
 */
export function openPkcs7(bytes: Buffer<ArrayBuffer>, keys: readonly KeyObject[]): Uint8Array | undefined {
  let envelope: Envelope;
  try {
    envelope = parse(bytes);
  } catch {
    return undefined;
  }
  for (const key of keys.filter(({ asymmetricKeyType }) => asymmetricKeyType === 'rsa')) {
    for (const wrapped of envelope.wrapped) {
      try {
        return opened(envelope, privateDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, wrapped));
      } catch {
        // For somebody else. OpenSSL answers a wrong padding with a random key, so that nobody learns which of both it was.
      }
    }
  }
  return undefined;
}

function opened({ cipher, nonce, content }: Envelope, key: Buffer): Buffer {
  const decipher = createDecipheriv(cipher, key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(content.subarray(-TAG_BYTES));
  return Buffer.concat([decipher.update(content.subarray(0, -TAG_BYTES)), decipher.final()]);
}

function parse(bytes: Buffer<ArrayBuffer>): Envelope {
  const outer = ASN1Obj.parseBuffer(bytes);
  if (part(outer, 0).toOID() !== ENVELOPED_DATA) throw new TypeError('no enveloped data');
  const data = part(outer, 1, 0);
  const recipients = part(data, 1).subs.filter((recipient) => part(recipient, 2, 0).toOID() === RSA);
  const contents = part(data, 2);
  const cipher = CIPHERS.get(part(contents, 1, 0).toOID());
  if (cipher === undefined) throw new TypeError('another cipher');
  return {
    cipher,
    nonce: part(parametersOf(part(contents, 1, 1)), 0).value,
    content: contentOf(part(contents, 2)),
    wrapped: recipients.slice(0, MAX_RECIPIENTS).map((recipient) => part(recipient, 3).value),
  };
}

/** ocicrypt wraps the sequence once more, in one that says that it has no parts. */
function parametersOf(field: ASN1Obj): ASN1Obj {
  return field.tag.constructed ? field : ASN1Obj.parseBuffer(Buffer.from(field.value));
}

/** In one piece, or in several. */
function contentOf(field: ASN1Obj): Buffer {
  return field.tag.constructed ? Buffer.concat(field.subs.map(({ value }) => value)) : field.value;
}

function part(of: ASN1Obj, ...path: readonly number[]): ASN1Obj {
  let found = of;
  for (const index of path) {
    const next = found.subs[index];
    if (next === undefined) throw new TypeError('a part is missing');
    found = next;
  }
  return found;
}
