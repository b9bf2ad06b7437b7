import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { type Digest, sha256 } from '../../src/ids/index.ts';
import { getXattr, listXattr, openRoot, readFileInRoot } from '../../src/linux/index.ts';
import type { LayerUnpacker, UnpackOptions, UnpackedLayer } from '../../src/storage/index.ts';
import { machinesDir } from './tools.ts';

/** A directory of its own for one test, with a `diff` in it; removed by `using`. */
export class Workplace implements Disposable {
  readonly dir: string;

  constructor() {
    mkdirSync(machinesDir, { recursive: true });
    this.dir = mkdtempSync(join(machinesDir, 'archive-'));
    mkdirSync(this.path('diff'));
  }

  path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  get diff(): string {
    return this.path('diff');
  }

  get tarSplit(): string {
    return this.path('tar-split.gz');
  }

  [Symbol.dispose](): void {
    execFileSync('rm', ['-rf', this.dir]); // Node's own walks whole paths, and some trees here are deeper than any.
  }
}

/** The bytes in pieces, as a network gives them. */
export async function* pieces(bytes: Uint8Array, size = 10_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

/** Unpacks a blob below `place`; its digest is taken for granted unless `more` says otherwise. */
export async function unpack(
  unpacker: LayerUnpacker,
  place: Workplace,
  blob: Uint8Array,
  more: Partial<UnpackOptions> = {},
): Promise<UnpackedLayer> {
  const options = { diffDir: place.diff, tarSplitPath: place.tarSplit, blobDigest: sha256(blob), diffId: undefined, ...more };
  return await unpacker.unpack(pieces(blob), options);
}

/**
 * Everything about a tree that a layer determines, one line an entry: name, type, mode, ids, links, device, time to the
 * nanosecond, link target or digest of the contents, xattrs. Names are latin1, one character a byte.
 */
export function treeLines(root: string): string[] {
  const lines: string[] = [];
  const inodes = new Map<bigint, string>();
  const walk = (path: Buffer, name: string) => {
    const stat = lstatSync(path, { bigint: true });
    const first = inodes.get(stat.ino) ?? name;
    inodes.set(stat.ino, first);
    const isFile = stat.isFile();
    const fields = [
      name,
      stat.mode.toString(8),
      `${stat.uid}:${stat.gid}`,
      stat.isDirectory() ? '' : `links=${stat.nlink} as=${first}`,
      stat.isCharacterDevice() || stat.isBlockDevice() ? `device=${stat.rdev}` : '',
      `mtime=${stat.mtimeNs}`,
      isFile ? `${stat.size} ${createHash('sha256').update(readFileSync(path)).digest('hex')}` : '',
      stat.isSymbolicLink() ? `-> ${readlinkSync(path, 'latin1')}` : '',
      ...xattrs(path),
    ];
    lines.push(fields.filter(Boolean).join(' '));
    if (!stat.isDirectory()) return;
    for (const entry of readdirSync(path, { encoding: 'buffer' }).toSorted((a, b) => a.compare(b)))
      walk(Buffer.concat([path, Buffer.from('/'), entry]), `${name}/${entry.toString('latin1')}`);
  };
  for (const entry of readdirSync(root, { encoding: 'buffer' }).toSorted((a, b) => a.compare(b)))
    walk(Buffer.concat([Buffer.from(`${root}/`), entry]), entry.toString('latin1'));
  return lines;
}

function xattrs(path: Buffer): string[] {
  const names = listXattr(path);
  if (typeof names === 'number') throw new Error(`listxattr ${path.toString()}: ${names}`);
  return names.toSorted().map((name) => {
    const value = getXattr(path, name);
    return `${name}=${typeof value === 'number' ? value : value.toString('hex')}`;
  });
}

interface SplitLine {
  readonly type: number;
  readonly position: number;
  readonly payload: string | null;
  readonly name?: string;
  readonly name_raw?: string;
  readonly size?: number;
}

/** Rebuilds the tar stream from a tar-split and the tree, as containers/storage's Diff does, and answers its digest. */
export function reassembled(tarSplitPath: string, tree: string): Digest {
  const parts: Buffer[] = [];
  using root = openRoot(tree);
  for (const [position, text] of gunzipSync(readFileSync(tarSplitPath)).toString('utf8').trimEnd().split('\n').entries()) {
    if (text === '') continue;
    const line = JSON.parse(text) as SplitLine;
    if (line.position !== position) throw new Error(`position ${line.position} in line ${position}`);
    if (line.type === 2) parts.push(Buffer.from(line.payload ?? '', 'base64'));
    else if (line.size !== undefined) parts.push(contentsOf(line, root.fd));
    else if (line.payload !== null) throw new Error(`an empty member with a checksum: ${text}`);
  }
  return sha256(Buffer.concat(parts));
}

/** As in a chroot: some names begin with `..` or lead over absolute links. */
function contentsOf(line: SplitLine, root: number): Buffer {
  const name = line.name === undefined ? Buffer.from(line.name_raw ?? '', 'base64') : Buffer.from(line.name);
  const contents = readFileInRoot(root, name, 2 ** 30) ?? Buffer.alloc(0);
  if (contents.length !== line.size) throw new Error(`${name.toString()}: ${contents.length} bytes, not ${line.size}`);
  if (Buffer.from(line.payload ?? '', 'base64').toString('hex') !== crc64(contents)) throw new Error(`${name.toString()}: wrong CRC-64`);
  return contents;
}

const CRC_TABLE = Array.from({ length: 256 }, (_, byte) => {
  let crc = BigInt(byte);
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1n) === 0n ? crc >> 1n : (crc >> 1n) ^ 0xd800_0000_0000_0000n;
  return crc;
});

/** By the textbook, and so independent of the one under test; slow. */
function crc64(bytes: Uint8Array): string {
  let crc = 0xffff_ffff_ffff_ffffn;
  for (const byte of bytes) crc = (crc >> 8n) ^ (CRC_TABLE[Number((crc ^ BigInt(byte)) & 0xffn)] ?? 0n);
  return (crc ^ 0xffff_ffff_ffff_ffffn).toString(16).padStart(16, '0');
}
