import { createHash } from 'node:crypto';
import { closeSync, fstatSync, readSync } from 'node:fs';
import { setImmediate as breathe } from 'node:timers/promises';
import { Failure, textOf } from '../../errors/index.ts';
import type { Digest } from '../../ids/index.ts';
import { O, openInRoot, openRoot } from '../../linux/index.ts';
import { readTarSplitFile } from '../archive/index.ts';

const BLOCK = 1024 * 1024;

/** What an archive is, put together again. */
export interface Rebuilt {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

/**
 * Puts the archive of a layer together again, from its tree and its tar-split (docs/reference/cri-o-ondisk.md §4.6), and hashes it:
 * every byte of every file counts. `trees` are the layer's own directories, the first that has a file gives it. Fails with code
 * MODIFIED for a file that is missing or has another size, BAD_TAR_SPLIT for a tar-split that cannot be read. `onBytes` sees the archive pass by; its buffers are valid during the call only.
 */
export async function rebuild(trees: readonly string[], tarSplit: string, onBytes: (bytes: Buffer) => void = () => {}): Promise<Rebuilt> {
  const hash = createHash('sha256');
  const take = (bytes: Buffer) => {
    hash.update(bytes);
    onBytes(bytes);
  };
  using roots = new DisposableStack();
  const fds = trees.map((tree) => roots.use(openRoot(tree)).fd);
  let size = 0;
  for await (const entry of readTarSplitFile(tarSplit)) {
    if (entry.raw !== undefined) {
      take(entry.raw);
      size += entry.raw.length;
      continue;
    }
    if (entry.size === 0) continue;
    await readFileOf(fds, entry.name, entry.size, take);
    size += entry.size;
  }
  return { digest: `sha256:${hash.digest('hex')}` as Digest, size };
}

async function readFileOf(roots: readonly number[], name: Buffer, size: number, take: (bytes: Buffer) => void): Promise<void> {
  const fd = openRegular(roots, name);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size !== size) throw modified(name, `it has ${stat.size} bytes, not ${size}`);
    const block = Buffer.allocUnsafe(Math.min(size, BLOCK));
    for (let at = 0; at < size;) {
      const length = readSync(fd, block, 0, block.length, at);
      if (length === 0) throw modified(name, `it ends after ${at} of ${size} bytes`);
      take(block.subarray(0, length));
      at += length;
      if (at % (64 * BLOCK) === 0) await breathe();
    }
  } finally {
    closeSync(fd);
  }
}

/** Its links lead nowhere outside; a pipe or device of that name is not waited for. The descriptor is the caller's. */
function openRegular(roots: readonly number[], name: Buffer): number {
  let last: unknown;
  for (const root of roots) {
    try {
      return openInRoot(root, name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK).take();
    } catch (error) {
      last = error;
    }
  }
  throw modified(name, textOf(last));
}

function modified(name: Buffer, how: string): Failure {
  return new Failure('Unknown', `${JSON.stringify(name.toString('utf8'))}: ${how}`, { code: 'MODIFIED' });
}
