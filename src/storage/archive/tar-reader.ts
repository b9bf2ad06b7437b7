import type { FileTime } from '../../linux/index.ts';
import { badArchive } from './failures.ts';
import { type PaxHeader, parsePax } from './pax.ts';
import { type Extent, SparseMapReader, type SparseMember, sparseMember } from './sparse.ts';
import { BLOCK, TYPE, type TarHeader, invalidHeader, isZeroBlock, parseHeader } from './tar-header.ts';

/** A member of an archive, its extended headers applied. Strings hold one byte per character (latin1). */
export interface TarEntry {
  /** A character code; legacy types are already resolved. */
  readonly type: number;
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of the file's contents, holes included; 0 for all that is no file. */
  readonly size: number;
  readonly modified: FileTime;
  readonly accessed: FileTime | undefined;
  readonly major: number;
  readonly minor: number;
  readonly xattrs: ReadonlyMap<string, Buffer>;
  /** Its contents come with holes, and are reported by `raw` too. */
  readonly sparse: boolean;
}

/** What the reader meets, in the archive's order. Buffers are valid during the call only. */
export interface TarVisitor {
  /** Bytes that are no member's contents: headers, padding, end marker, whatever follows it, all of sparse members. */
  raw(bytes: Buffer): void;
  begin(entry: TarEntry): void;
  /** A piece of the contents of the member begun last, at `position` of the file. */
  data(bytes: Buffer, position: number): void;
  end(): void;
}

/** Bytes of a pax header or a GNU long name (needs a40). */
const MAX_EXTENDED = 1024 * 1024;

const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map();
const WHOLE: readonly Extent[] = [];

type State = 'header' | 'extended' | 'sparseMap' | 'contents' | 'padding' | 'trailer';

/**
 * Reads a tar stream piece by piece: ustar, pax (x, g), GNU long names, base-256 numbers, star, v7, GNU sparse files
 * in pax form [cri-o-ondisk §4.3]. Holds no more than one extended header at a time. Throws Failure (BAD_ARCHIVE)
 * or what the visitor throws, nothing else, whatever the bytes are.
 */
export class TarReader {
  readonly #visitor: TarVisitor;
  #state: State = 'header';
  readonly #block = Buffer.alloc(BLOCK);
  #filled = 0;
  #zeroBlocks = 0;
  /** Of the member or extended header that is being read, bytes up to its padding. */
  #remaining = 0;
  #padding = 0;
  // What extended headers said about the next member.
  #extended: { readonly type: number; readonly body: Buffer } | undefined;
  #pax: PaxHeader | undefined;
  #longName: string | undefined;
  #longLink: string | undefined;
  // The member that is being read.
  #header: TarHeader | undefined;
  #sparse: SparseMember | undefined;
  #map: SparseMapReader | undefined;
  #extents: readonly Extent[] = WHOLE;
  #extent = 0;
  #position = 0;

  constructor(visitor: TarVisitor) {
    this.#visitor = visitor;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      switch (this.#state) {
        case 'header':
        case 'sparseMap':
          at = this.#takeBlock(chunk, at);
          break;
        case 'extended':
          at = this.#takeExtended(chunk, at);
          break;
        case 'contents':
          at = this.#takeContents(chunk, at);
          break;
        case 'padding':
          at = this.#takePadding(chunk, at);
          break;
        case 'trailer':
          this.#visitor.raw(at === 0 ? chunk : chunk.subarray(at));
          return;
      }
    }
  }

  /** The stream has ended; a Failure if it did so inside a member. A missing end marker is forgiven, as Go does. */
  finish(): void {
    const whole = this.#state === 'trailer' || (this.#state === 'header' && this.#filled === 0);
    if (!whole) throw badArchive('archive/tar: unexpected end of the archive');
  }

  #takeBlock(chunk: Buffer, at: number): number {
    if (this.#filled === 0 && chunk.length - at >= BLOCK) {
      this.#onBlock(chunk.subarray(at, at + BLOCK));
      return at + BLOCK;
    }
    const length = Math.min(BLOCK - this.#filled, chunk.length - at);
    chunk.copy(this.#block, this.#filled, at, at + length);
    this.#filled += length;
    if (this.#filled === BLOCK) {
      this.#filled = 0;
      this.#onBlock(this.#block);
    }
    return at + length;
  }

  #onBlock(block: Buffer): void {
    this.#visitor.raw(block);
    if (this.#state === 'sparseMap') this.#onSparseMap(block);
    else this.#onHeader(block);
  }

  #onHeader(block: Buffer): void {
    if (isZeroBlock(block)) {
      if (++this.#zeroBlocks === 2) this.#state = 'trailer';
      return;
    }
    if (this.#zeroBlocks > 0) throw invalidHeader('a header follows half an end marker');
    const header = parseHeader(block);
    const { type } = header;
    if (type === TYPE.PAX || type === TYPE.PAX_GLOBAL || type === TYPE.GNU_LONG_NAME || type === TYPE.GNU_LONG_LINK) {
      if (header.size < 0 || header.size > MAX_EXTENDED) throw invalidHeader(`an extended header of ${header.size} bytes`);
      this.#header = header;
      this.#extended = { type, body: Buffer.allocUnsafe(header.size) };
      this.#expect('extended', header.size);
      if (header.size === 0) this.#onExtended();
    } else this.#onMember(header);
  }

  #takeExtended(chunk: Buffer, at: number): number {
    const extended = this.#extended;
    if (extended === undefined) throw new Error('no extended header is being read');
    const length = Math.min(this.#remaining, chunk.length - at);
    chunk.copy(extended.body, extended.body.length - this.#remaining, at, at + length);
    this.#visitor.raw(chunk.subarray(at, at + length));
    if ((this.#remaining -= length) === 0) this.#onExtended();
    return at + length;
  }

  #onExtended(): void {
    const { type, body } = this.#extended ?? { type: 0, body: Buffer.alloc(0) };
    this.#extended = undefined;
    if (type === TYPE.PAX) this.#pax = parsePax(body);
    else if (type === TYPE.GNU_LONG_NAME) this.#longName = upToNul(body);
    else if (type === TYPE.GNU_LONG_LINK) this.#longLink = upToNul(body);
    else this.#onGlobal(parsePax(body));
    this.#afterContents();
  }

  /** A global header is a member of its own that says nothing about the others, as Go reads it. */
  #onGlobal(pax: PaxHeader): void {
    const header = this.#header;
    if (header === undefined) return;
    this.#visitor.begin({ ...header, name: pax.path ?? header.name, mode: 0, uid: 0, gid: 0, size: 0, xattrs: NO_XATTRS, sparse: false });
    this.#visitor.end();
    this.#forget();
  }

  #onMember(block: TarHeader): void {
    const header = block.type === TYPE.LEGACY ? this.#resolved(block) : block;
    this.#header = header;
    const size = hasContents(header.type) ? (this.#pax?.size ?? header.size) : 0;
    if (size < 0) throw invalidHeader('a negative size');
    this.#sparse = hasContents(header.type) ? sparseMember(this.#pax, size) : undefined;
    this.#expect('contents', size);
    this.#position = 0;
    this.#extent = 0;
    if (this.#sparse !== undefined && this.#sparse.extents === undefined) {
      this.#map = new SparseMapReader(this.#sparse.size);
      this.#state = 'sparseMap';
      if (this.#remaining < BLOCK) throw invalidHeader('no room for a sparse map');
    } else this.#begin(this.#sparse?.extents ?? WHOLE);
  }

  /** Type NUL, from before ustar: a directory if the name ends so, else a file. */
  #resolved(header: TarHeader): TarHeader {
    const name = this.#longName ?? this.#pax?.path ?? header.name;
    return { ...header, type: name.endsWith('/') ? TYPE.DIRECTORY : TYPE.REGULAR };
  }

  #onSparseMap(block: Buffer): void {
    this.#remaining -= BLOCK;
    const extents = this.#map?.push(block);
    if (extents !== undefined) {
      this.#map = undefined;
      this.#state = 'contents';
      this.#begin(extents);
    } else if (this.#remaining < BLOCK) throw invalidHeader('a sparse map that does not end');
  }

  #begin(extents: readonly Extent[]): void {
    const sparse = this.#sparse;
    if (sparse !== undefined) {
      const held = extents.reduce((sum, extent) => sum + extent.length, 0);
      if (held !== this.#remaining) throw invalidHeader('a sparse member holds more or less than its map says');
    }
    this.#extents = extents;
    this.#visitor.begin(this.#entry());
    if (this.#remaining === 0) this.#endMember();
  }

  #entry(): TarEntry {
    const header = this.#header;
    if (header === undefined) throw new Error('no member is being read');
    const pax = this.#pax;
    return {
      type: header.type,
      name: this.#longName ?? this.#sparse?.name ?? pax?.path ?? header.name,
      linkName: this.#longLink ?? pax?.linkPath ?? header.linkName,
      mode: header.mode,
      uid: pax?.uid ?? header.uid,
      gid: pax?.gid ?? header.gid,
      size: this.#sparse?.size ?? this.#remaining,
      modified: pax?.modified ?? header.modified,
      accessed: pax?.accessed ?? header.accessed,
      major: header.major,
      minor: header.minor,
      xattrs: pax?.xattrs ?? NO_XATTRS,
      sparse: this.#sparse !== undefined,
    };
  }

  #takeContents(chunk: Buffer, at: number): number {
    const extent = this.#extents[this.#extent];
    const inExtent = extent === undefined ? this.#remaining : extent.length - this.#position;
    const length = Math.min(inExtent, chunk.length - at);
    const piece = at === 0 && length === chunk.length ? chunk : chunk.subarray(at, at + length);
    if (extent !== undefined) this.#visitor.raw(piece);
    this.#visitor.data(piece, (extent?.offset ?? 0) + this.#position);
    this.#position += length;
    if (extent !== undefined && this.#position === extent.length) {
      this.#extent++;
      this.#position = 0;
    }
    if ((this.#remaining -= length) === 0) this.#endMember();
    return at + length;
  }

  #endMember(): void {
    this.#visitor.end();
    this.#forget();
    this.#afterContents();
  }

  #forget(): void {
    this.#pax = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#sparse = undefined;
    this.#extents = WHOLE;
  }

  #expect(state: State, size: number): void {
    this.#state = state;
    this.#remaining = size;
    this.#padding = (BLOCK - (size % BLOCK)) % BLOCK;
  }

  #afterContents(): void {
    this.#state = this.#padding > 0 ? 'padding' : 'header';
  }

  #takePadding(chunk: Buffer, at: number): number {
    const length = Math.min(this.#padding, chunk.length - at);
    this.#visitor.raw(chunk.subarray(at, at + length));
    if ((this.#padding -= length) === 0) this.#state = 'header';
    return at + length;
  }
}

/** Links, devices, directories and FIFOs have no contents, whatever their size field says. */
function hasContents(type: number): boolean {
  return !(type >= TYPE.LINK && type <= TYPE.FIFO);
}

function upToNul(body: Buffer): string {
  const nul = body.indexOf(0);
  return body.toString('latin1', 0, nul < 0 ? body.length : nul);
}
