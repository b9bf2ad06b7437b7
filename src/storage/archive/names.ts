import { Buffer } from 'node:buffer';
import type { Path } from '../../linux/index.ts';

/**
 * Names inside an archive, held with one byte per character (latin1), so that any bytes survive (needs a82) and
 * strings can be cut and compared quickly.
 */

/** A cleaned path: relative to the root of the tree, without `.`, `..`, empty components. '' is the root itself. */
export interface CleanName {
  /** As Go's path.Clean writes it: what tar-split compares for duplicates, `.` and `/` told apart. */
  readonly key: string;
  /** Below the root, leading `..` clamped [§4.1 step 3]. */
  readonly path: string;
  /** All but the last component; '' for the root. */
  readonly parent: string;
  /** The last component; '' for the root. */
  readonly base: string;
}

export function cleanName(name: string): CleanName {
  const trimmed = name.endsWith('/') ? name.slice(0, -1) : name;
  if (needsCleaning(trimmed)) return cleaned(name);
  return split(trimmed, trimmed);
}

/** Empty, or some component is empty, `.` or `..`. Written as a scan: this runs for every member. */
function needsCleaning(name: string): boolean {
  let start = 0;
  for (let i = 0; i <= name.length; i++) {
    if (i < name.length && name.charCodeAt(i) !== 0x2f) continue;
    const length = i - start;
    if (length === 0) return true;
    if (length <= 2 && name.charCodeAt(start) === 0x2e && name.charCodeAt(i - 1) === 0x2e) return true;
    start = i + 1;
  }
  return false;
}

function cleaned(name: string): CleanName {
  const parts: string[] = [];
  let above = 0;
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) above++;
  }
  const path = parts.join('/');
  if (name.startsWith('/')) return split(`/${path}`, path);
  const key = [...Array<string>(above).fill('..'), ...parts].join('/');
  return split(key === '' ? '.' : key, path);
}

function split(key: string, path: string): CleanName {
  const slash = path.lastIndexOf('/');
  return { key, path, parent: slash < 0 ? '' : path.slice(0, slash), base: path.slice(slash + 1) };
}

/** For a system call. */
export function toPath(bytes: string): Path {
  return isAscii(bytes) ? bytes : Buffer.from(bytes, 'latin1');
}

/** For a message. */
export function toText(bytes: string): string {
  return isAscii(bytes) ? bytes : Buffer.from(bytes, 'latin1').toString('utf8');
}

export function isAscii(bytes: string): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes.charCodeAt(i) > 0x7f) return false;
  return true;
}
