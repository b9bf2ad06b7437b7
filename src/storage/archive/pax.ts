import type { FileTime } from '../../linux/index.ts';
import { invalidHeader } from './tar-header.ts';

/** What a pax extended header (type `x`) says about the member after it. Strings hold one byte per character. */
export interface PaxHeader {
  path?: string;
  linkPath?: string;
  size?: number;
  uid?: number;
  gid?: number;
  modified?: FileTime;
  accessed?: FileTime;
  /** By name. */
  readonly xattrs: Map<string, Buffer>;
  /** The records `GNU.sparse.*` by the rest of their name. */
  readonly sparse: Map<string, string>;
  /** GNU sparse 0.0 repeats its records: offset, length, offset, length, … */
  readonly sparsePairs: string[];
}

const XATTR = 'SCHILY.xattr.';
const SPARSE = 'GNU.sparse.';

/**
 * Parses the records `<length> <key>=<value>\n`. A later record of a key replaces an earlier one, an empty value takes
 * it back (except an xattr's: that one is empty then). Unknown keys are ignored, malformed ones a Failure.
 */
export function parsePax(body: Buffer): PaxHeader {
  const header: PaxHeader = { xattrs: new Map(), sparse: new Map(), sparsePairs: [] };
  for (let at = 0; at < body.length;) {
    const end = at + recordLength(body, at);
    const from = body.indexOf(0x20, at) + 1;
    const equals = body.indexOf(0x3d, from);
    if (from === 0 || equals < from || equals >= end - 1 || equals === from) throw invalidHeader('a pax record has no key');
    if (end > body.length || body[end - 1] !== 0x0a) throw invalidHeader('a pax record does not end where it says');
    take(header, body.toString('latin1', from, equals), body.subarray(equals + 1, end - 1));
    at = end;
  }
  return header;
}

function recordLength(body: Buffer, at: number): number {
  let length = 0;
  let i = at;
  for (; i < at + 8 && isDigit(body[i]); i++) length = length * 10 + (body[i] ?? 0) - 0x30;
  if (i === at || body[i] !== 0x20 || length < i - at + 3) throw invalidHeader('a pax record has no length');
  return length;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function take(header: PaxHeader, key: string, value: Buffer): void {
  if (key.includes('\0')) throw invalidHeader('a pax key contains NUL');
  if (key.startsWith(XATTR)) return void header.xattrs.set(key.slice(XATTR.length), Buffer.from(value));
  const text = value.toString('latin1', 0, value.length);
  if (key.startsWith(SPARSE)) return takeSparse(header, key.slice(SPARSE.length), text);
  switch (key) {
    case 'path':
    case 'linkpath':
      if (text.includes('\0')) throw invalidHeader(`the pax record ${key} contains NUL`);
      setOrDelete(header, key === 'path' ? 'path' : 'linkPath', text === '' ? undefined : text);
      return;
    case 'size':
    case 'uid':
    case 'gid':
      setOrDelete(header, key, text === '' ? undefined : decimal(text));
      return;
    case 'mtime':
    case 'atime':
      setOrDelete(header, key === 'mtime' ? 'modified' : 'accessed', text === '' ? undefined : paxTime(text));
  }
}

function setOrDelete<K extends 'path' | 'linkPath' | 'size' | 'uid' | 'gid' | 'modified' | 'accessed'>(
  header: PaxHeader,
  key: K,
  value: PaxHeader[K] | undefined,
): void {
  if (value === undefined) delete header[key];
  else header[key] = value;
}

function takeSparse(header: PaxHeader, key: string, text: string): void {
  if (key === 'offset' || key === 'numbytes') {
    if ((header.sparsePairs.length % 2 === 0) !== (key === 'offset')) throw invalidHeader('sparse records out of order');
    header.sparsePairs.push(text);
  } else header.sparse.set(key, text);
}

/** A non-negative decimal number up to 2⁵³; a Failure for anything else. */
export function decimal(text: string): number {
  const value = Number(text);
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(value)) throw invalidHeader('a number in a pax record is none, or too large');
  return value;
}

/** `-?seconds[.fraction]`; digits beyond nanoseconds are cut. */
function paxTime(text: string): FileTime {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (match === null) throw invalidHeader('a time in a pax record is none');
  const seconds = Number(match[2]);
  const nanoseconds = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (match[1] === '') return { seconds, nanoseconds };
  return nanoseconds === 0 ? { seconds: -seconds, nanoseconds } : { seconds: -seconds - 1, nanoseconds: 1e9 - nanoseconds };
}
