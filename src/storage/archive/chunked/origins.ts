import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { type Digest, algorithmOf, hexOf } from '../../../ids/index.ts';
import { AT, O, OwnedFd, S, openAt, openRoot, orThrow, statOrThrow, tryOpenInRoot } from '../../../linux/index.ts';
import { type TarSplitEntry, readTarSplitFile } from '../tar-split-reader.ts';
import type { LayerContents } from '../types.ts';

const BLOCK = 512 * 1024;

/** A file of a layer in the store. */
export interface Origin {
  /** Of the layer's tree; a descriptor. */
  readonly root: number;
  readonly name: Buffer;
  readonly isForeign: boolean;
}

/** A file that is looked for, and where it was found. */
export interface Wanted {
  readonly size: number;
  readonly digest: Digest;
  /** As in the tar-split. */
  readonly checksum: string;
  origin: Origin | undefined;
}

/**
 * Looks for files in other layers. Their tar-splits know a checksum of everything that they hold, so no index of our own is
 * needed, and layers that other tools or full pulls brought count too. What has the checksum is hashed: only the digest decides.
 * A layer that goes away meanwhile, or cannot be read, gives nothing. The roots of those that gave something are kept in `roots`.
 */
export async function findOrigins(
  files: readonly Wanted[],
  layers: readonly LayerContents[],
  roots: DisposableStack,
  throwIfAborted: () => void,
): Promise<void> {
  const wanted = new Map<string, Wanted[]>();
  for (const file of files) wanted.getOrInsertComputed(keyOf(file), () => []).push(file);
  for (const layer of layers) {
    throwIfAborted();
    if (wanted.size === 0) return;
    const before = wanted.size;
    using scan = new DisposableStack();
    try {
      const root = scan.use(openRoot(layer.diffDir));
      for await (const entry of readTarSplitFile(layer.tarSplitPath))
        if (entry.raw === undefined) look(entry, wanted, { root: root.fd, isForeign: layer.isForeign });
    } catch {
      // What was found until then counts.
    }
    if (wanted.size < before) roots.use(scan.move());
  }
}

function look(entry: Exclude<TarSplitEntry, { raw: Buffer }>, wanted: Map<string, Wanted[]>, layer: Omit<Origin, 'name'>): void {
  const files = wanted.get(keyOf(entry));
  const [first] = files ?? [];
  if (files === undefined || first === undefined) return;
  const origin = { ...layer, name: entry.name };
  using fd = openOrigin(origin, entry.size);
  if (fd === undefined || !hasDigest(fd.fd, first.digest)) return;
  for (const file of files) if (file.digest === first.digest) file.origin = origin;
  wanted.delete(keyOf(entry));
}

function keyOf({ size, checksum }: { readonly size: number; readonly checksum: string }): string {
  return `${size} ${checksum}`;
}

/**
 * The file, open for reading; undefined where there is no regular file of that size. Nothing else is opened in earnest: to open a
 * device can do something.
 */
export function openOrigin({ root, name }: Origin, size: number): OwnedFd | undefined {
  try {
    using place = tryOpenInRoot(root, name, O.PATH | O.NOFOLLOW);
    if (place === undefined) return undefined;
    const stat = statOrThrow(place.fd);
    if ((stat.mode & S.MASK) !== S.REG || stat.size !== size) return undefined;
    const path = `/proc/self/fd/${place.fd}`;
    return new OwnedFd(orThrow(openAt(AT.FDCWD, path, O.RDONLY), 'open', path));
  } catch {
    return undefined;
  }
}

function hasDigest(fd: number, digest: Digest): boolean {
  const hash = createHash(algorithmOf(digest));
  for (const piece of contentsOf(fd)) hash.update(piece);
  return hash.digest('hex') === hexOf(digest);
}

/** A file's bytes from the start; each piece is good until the next is asked for. */
export function* contentsOf(fd: number): Generator<Buffer> {
  const block = Buffer.allocUnsafe(BLOCK);
  for (let at = 0; ;) {
    const length = readSync(fd, block, 0, block.length, at);
    if (length === 0) return;
    yield block.subarray(0, length);
    at += length;
  }
}
