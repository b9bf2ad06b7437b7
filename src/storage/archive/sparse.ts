import { badArchive } from './failures.ts';
import { type PaxHeader, decimal } from './pax.ts';
import { BLOCK, invalidHeader } from './tar-header.ts';

/** A run of a sparse file's bytes that the archive holds. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** A GNU sparse member: `extents` is undefined while the map still stands before the contents (format 1.0). */
export interface SparseMember {
  readonly name: string | undefined;
  /** Bytes of the whole file. */
  readonly size: number;
  readonly extents: readonly Extent[] | undefined;
}

/** Bytes of a sparse map, as for every other extended header (needs a40). */
export const MAX_SPARSE_MAP = 1024 * 1024;

/** Recognises the pax forms 0.0, 0.1 and 1.0 as Go's archive/tar does; undefined for an ordinary member. */
export function sparseMember(pax: PaxHeader | undefined, headerSize: number): SparseMember | undefined {
  if (pax === undefined || (pax.sparse.size === 0 && pax.sparsePairs.length === 0)) return undefined;
  const version = `${pax.sparse.get('major') ?? ''}.${pax.sparse.get('minor') ?? ''}`;
  const inHeader = version === '0.0' || version === '0.1' || (version === '.' && hasMap(pax));
  if (!inHeader && version !== '1.0') return undefined;
  const sizeText = pax.sparse.get('realsize') ?? pax.sparse.get('size');
  const size = sizeText === undefined ? headerSize : decimal(sizeText);
  const name = pax.sparse.get('name');
  if (name?.includes('\0') === true) throw invalidHeader('the name of a sparse member contains NUL');
  if (!inHeader) return { name, size, extents: undefined };
  const map = pax.sparse.get('map');
  const numbers = (map === undefined ? pax.sparsePairs : map === '' ? [] : map.split(',')).map(decimal);
  const declared = pax.sparse.get('numblocks');
  if (declared !== undefined && decimal(declared) * 2 !== numbers.length)
    throw invalidHeader('the sparse map has another length than it says');
  return { name, size, extents: extentsOf(numbers, size) };
}

function hasMap(pax: PaxHeader): boolean {
  return pax.sparse.has('map') || pax.sparsePairs.length > 0;
}

/** Ascending, not overlapping, inside the file. */
function extentsOf(numbers: readonly number[], size: number): Extent[] {
  if (numbers.length % 2 !== 0) throw invalidHeader('the sparse map ends in the middle of an extent');
  const extents: Extent[] = [];
  let last = 0;
  for (let i = 0; i < numbers.length; i += 2) {
    const offset = numbers[i] ?? 0;
    const length = numbers[i + 1] ?? 0;
    if (offset < last || offset + length > size) throw invalidHeader('the sparse map is not in order or leaves the file');
    last = offset + length;
    if (length > 0) extents.push({ offset, length });
  }
  return extents;
}

/**
 * Gathers the map of format 1.0: decimal numbers, one a line, the first saying how many pairs follow, padded to a
 * block. Feed it whole blocks until it answers the extents.
 */
export class SparseMapReader {
  readonly #size: number;
  readonly #numbers: number[] = [];
  #line = '';
  #bytes = 0;

  constructor(size: number) {
    this.#size = size;
  }

  push(block: Buffer): readonly Extent[] | undefined {
    if ((this.#bytes += BLOCK) > MAX_SPARSE_MAP) throw badArchive('archive/tar: the sparse map of a member is larger than 1 MiB');
    const lines = (this.#line + block.toString('latin1', 0, BLOCK)).split('\n');
    this.#line = lines.pop() ?? '';
    for (const line of lines) {
      this.#numbers.push(decimal(line));
      if (this.#done()) return extentsOf(this.#numbers.slice(1), this.#size);
    }
    if (this.#line.length > 20 && !this.#done()) throw invalidHeader('a number in a sparse map is too long');
    return undefined;
  }

  #done(): boolean {
    const pairs = this.#numbers[0];
    return pairs !== undefined && this.#numbers.length === 1 + pairs * 2;
  }
}
