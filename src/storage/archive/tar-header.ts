import type { FileTime } from '../../linux/index.ts';
import { badArchive } from './failures.ts';

export const BLOCK = 512;

/** Type flags, as character codes. */
export const TYPE = {
  LEGACY: 0,
  REGULAR: 0x30,
  LINK: 0x31,
  SYMLINK: 0x32,
  CHAR: 0x33,
  BLOCK: 0x34,
  DIRECTORY: 0x35,
  FIFO: 0x36,
  PAX: 0x78,
  PAX_GLOBAL: 0x67,
  GNU_LONG_NAME: 0x4c,
  GNU_LONG_LINK: 0x4b,
} as const;

/** One 512-byte header block. Strings hold one byte per character (latin1): names need not be UTF-8. */
export interface TarHeader {
  readonly type: number;
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly modified: FileTime;
  /** GNU and star headers may carry one. */
  readonly accessed: FileTime | undefined;
  readonly major: number;
  readonly minor: number;
}

type Format = 'v7' | 'ustar' | 'gnu' | 'star';

/** Offset and length of the fields (POSIX.1, GNU tar). */
const NAME = 0;
const MODE = 100;
const UID = 108;
const GID = 116;
const SIZE = 124;
const MTIME = 136;
const CHECKSUM = 148;
const TYPE_FLAG = 156;
const LINK_NAME = 157;
const MAGIC = 257;
const MAJOR = 329;
const MINOR = 337;
const PREFIX = 345;
const GNU_ATIME = 345;
const STAR_ATIME = 476;
const STAR_TRAILER = 508;

/** Whether the block is all zeros, the end marker's half. */
export function isZeroBlock(block: Buffer): boolean {
  if (block[0] !== 0) return false;
  for (let i = 0; i < BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}

/** Parses a header block of any format that Go's archive/tar reads [cri-o-ondisk §4.3]; a Failure for anything else. */
export function parseHeader(block: Buffer): TarHeader {
  verifyChecksum(block);
  const format = formatOf(block);
  const type = block[TYPE_FLAG] ?? 0;
  const device = format !== 'v7' && (type === TYPE.CHAR || type === TYPE.BLOCK);
  let name = text(block, NAME, 100);
  let accessed: FileTime | undefined;
  if (format === 'ustar') name = withPrefix(text(block, PREFIX, 155), name);
  if (format === 'star') {
    name = withPrefix(text(block, PREFIX, 131), name);
    accessed = time(number(block, STAR_ATIME, 12));
  }
  if (format === 'gnu' && block[GNU_ATIME] !== 0) {
    const atime = tryNumber(block, GNU_ATIME, 12);
    // Go before 1.8 wrote a ustar prefix where GNU has its times; images made by it are still about.
    if (atime === undefined) name = withPrefix(asciiOnly(text(block, PREFIX, 155)), name);
    else accessed = time(atime);
  }
  return {
    type,
    name,
    linkName: text(block, LINK_NAME, 100),
    mode: number(block, MODE, 8),
    uid: number(block, UID, 8),
    gid: number(block, GID, 8),
    size: number(block, SIZE, 12),
    modified: time(number(block, MTIME, 12)),
    accessed,
    major: device ? number(block, MAJOR, 8) : 0,
    minor: device ? number(block, MINOR, 8) : 0,
  };
}

function formatOf(block: Buffer): Format {
  const magic = text8(block, MAGIC);
  if (magic === 'ustar  \0') return 'gnu';
  if (!magic.startsWith('ustar\0')) return 'v7';
  return block.toString('latin1', STAR_TRAILER, STAR_TRAILER + 4) === 'tar\0' ? 'star' : 'ustar';
}

function text8(block: Buffer, at: number): string {
  return block.toString('latin1', at, at + 8);
}

function withPrefix(prefix: string, name: string): string {
  return prefix === '' ? name : `${prefix}/${name}`;
}

function asciiOnly(prefix: string): string {
  // eslint-disable-next-line no-control-regex -- NUL…DEL is what ASCII means
  return /^[\x00-\x7f]*$/.test(prefix) ? prefix : '';
}

/** The bytes up to the first NUL, one character each. */
function text(block: Buffer, at: number, length: number): string {
  let end = at;
  while (end < at + length && block[end] !== 0) end++;
  return block.toString('latin1', at, end);
}

/** Sum of all bytes with the checksum's own taken as blanks; some old tars summed signed bytes. */
function verifyChecksum(block: Buffer): void {
  let unsigned = 0;
  let negative = 0;
  for (let i = 0; i < BLOCK; i++) {
    const byte = i >= CHECKSUM && i < CHECKSUM + 8 ? 0x20 : (block[i] ?? 0);
    unsigned += byte;
    if (byte >= 0x80) negative++;
  }
  const wanted = tryNumber(block, CHECKSUM, 8);
  if (wanted !== unsigned && wanted !== unsigned - negative * 256) throw invalidHeader('its checksum is wrong');
}

function number(block: Buffer, at: number, length: number): number {
  const value = tryNumber(block, at, length);
  if (value === undefined) throw invalidHeader(`no number at offset ${at}`);
  return value;
}

/** Octal with blanks or NULs around it, or base-256 with the first bit set; undefined for anything else or beyond 2⁵³. */
function tryNumber(block: Buffer, at: number, length: number): number | undefined {
  const first = block[at] ?? 0;
  if ((first & 0x80) !== 0) return base256(block, at, length);
  let from = at;
  let to = at + length;
  while (from < to && isBlank(block[from])) from++;
  while (to > from && isBlank(block[to - 1])) to--;
  let value = 0;
  for (let i = from; i < to && block[i] !== 0; i++) {
    const digit = (block[i] ?? 0) - 0x30;
    if (digit < 0 || digit > 7) return undefined;
    value = value * 8 + digit;
  }
  return value <= Number.MAX_SAFE_INTEGER ? value : undefined;
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0 || byte === 0x20;
}

/** Two's complement, big-endian, the first bit replaced by the mark: the second is the sign. */
function base256(block: Buffer, at: number, length: number): number | undefined {
  const first = block[at] ?? 0;
  let value = (first & 0x40) === 0 ? first & 0x3f : (first & 0x7f) - 0x80;
  for (let i = at + 1; i < at + length; i++) value = value * 256 + (block[i] ?? 0);
  return Number.isSafeInteger(value) ? value : undefined;
}

function time(seconds: number): FileTime {
  return { seconds, nanoseconds: 0 };
}

export function invalidHeader(why: string) {
  return badArchive(`archive/tar: invalid tar header: ${why}`);
}
