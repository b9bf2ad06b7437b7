import { createHash, randomBytes } from 'node:crypto';
import { type Digest, type HexId, hexOf, isHexId } from '../ids/index.ts';
import { Failure } from '../errors/index.ts';

/**
 * The id of a layer made by applying `diffId` on `parent` (docs/reference/cri-o-ondisk.md §1.7): without parent the
 * DiffID itself, else sha256 of `<parent>+<DiffID>`, all as bare hex. Not the OCI chain id.
 * Only sha256 DiffIDs name layers here.
 */
export function layerId(parent: HexId | undefined, diffId: Digest): HexId {
  const hex = hexOf(diffId);
  if (!isHexId(hex)) throw new Failure('InvalidArgument', `layer DiffID ${diffId} is not a sha256 digest`);
  if (parent === undefined) return hex;
  return createHash('sha256').update(`${parent}+${hex}`).digest('hex') as HexId;
}

/**
 * The file name of a big-data item (§1.5): the key itself if all but its last character are plain (Go's checker
 * never looks at the last one), else `=` and base64. Fails for keys that would leave their directory.
 */
export function bigDataFileName(key: string): string {
  const name = /^[a-z0-9.]*[^]?$/u.test(key) ? key : `=${Buffer.from(key).toString('base64')}`;
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name.slice(-1)))
    throw new Failure('InvalidArgument', `${JSON.stringify(key)} cannot be the name of a data item`);
  return name;
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** A fresh name for `l/` (§1.7): 26 base32 characters, 130 random bits. */
export function newLinkName(): string {
  let name = '';
  for (const byte of randomBytes(26)) name += BASE32[byte & 31];
  return name;
}

/** Whether the text of a `link` file or a component of a `lower` file has the form of such a name. */
export function isLinkName(text: string): boolean {
  return /^[A-Z2-7]{26}$/.test(text);
}
