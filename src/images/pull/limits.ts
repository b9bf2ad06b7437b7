import { statfs } from 'node:fs/promises';
import type { UnpackLimits } from '../../storage/index.ts';

/** Bytes that any layer may unpack to, however small it is. */
const ALWAYS_ALLOWED = 1024 ** 3;
/** Above that, so many bytes for each of its blob: whatever real files are, they do not shrink by more. */
const MAX_RATIO = 10_000;
/** Of the file system, at least so much stays free: what runs on the node needs to write, too. */
const KEPT_FREE = 0.03;

/** Where layers are unpacked, in bytes. */
export interface Space {
  readonly free: number;
  readonly total: number;
}

/** How much a layer may unpack to: neither past what is free, nor past what its blob can hold in earnest [a41]. `blobSize` < 0: unknown. */
export function unpackLimits({ free, total }: Space, blobSize: number): UnpackLimits {
  const bySpace = Math.max(0, free - total * KEPT_FREE);
  const byRatio = blobSize < 0 ? Number.POSITIVE_INFINITY : ALWAYS_ALLOWED + MAX_RATIO * blobSize;
  return { maxDiffBytes: Math.floor(Math.min(bySpace, byRatio)) };
}

/** A file system that has no size (ramfs, some network ones) says that it has no blocks: it bounds nothing. */
export async function spaceOf(directory: string): Promise<Space> {
  const { bsize, bavail, blocks } = await statfs(directory);
  return blocks === 0 ? { free: Number.POSITIVE_INFINITY, total: 0 } : { free: bavail * bsize, total: blocks * bsize };
}
