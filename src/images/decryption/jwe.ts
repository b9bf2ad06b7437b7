import type { KeyObject } from 'node:crypto';
import type { GeneralJWE } from 'jose';
import { arrayField, asTable, parseForeignJson } from '../json.ts';

/** What images are encrypted with, and nothing that needs a password or a shared secret. */
const ALGORITHMS = {
  keyManagementAlgorithms: ['RSA-OAEP', 'RSA-OAEP-256', 'ECDH-ES+A128KW', 'ECDH-ES+A192KW', 'ECDH-ES+A256KW'],
  contentEncryptionAlgorithms: ['A128GCM', 'A192GCM', 'A256GCM', 'A128CBC-HS256', 'A192CBC-HS384', 'A256CBC-HS512'],
};

/** Recipients of one envelope: each costs an operation with each key. */
const MAX_RECIPIENTS = 64;

/** Opens a JWE in its JSON form (RFC 7516 §7.2) with the first key that fits; undefined where none does, or it is malformed. */
export async function openJwe(envelope: Buffer, keys: readonly KeyObject[]): Promise<Uint8Array | undefined> {
  // 40 modules that only encrypted images need.
  const { generalDecrypt } = await import('jose/jwe/general/decrypt');
  let jwe: GeneralJWE;
  try {
    jwe = parse(envelope);
  } catch {
    return undefined;
  }
  for (const key of keys) {
    try {
      return (await generalDecrypt(jwe, key, ALGORITHMS)).plaintext;
    } catch {
      // Of another pair, or of a kind that does not serve: the next may fit.
    }
  }
  return undefined;
}

/** With one recipient the parts stand side by side, with several in a list. */
function parse(envelope: Buffer): GeneralJWE {
  const table = parseForeignJson(envelope, 'JWE');
  const recipients = arrayField(table, 'recipients', 'JWE') ?? [{ encrypted_key: table['encrypted_key'], header: table['header'] }];
  const tables = recipients.slice(0, MAX_RECIPIENTS).map((recipient) => asTable(recipient, 'JWE: recipients'));
  // The library checks the types of all parts.
  return { ...table, recipients: tables } as unknown as GeneralJWE;
}
