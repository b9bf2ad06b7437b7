import { lstatSync } from 'node:fs';
import { relative } from 'node:path';
import { codeOf } from '../errors/index.ts';
import { run } from '../process/index.ts';
import { reserveFiles } from './reserve.ts';

const WALK_TIMEOUT_MS = 30 * 60_000;

/** What a store's bytes on the disk are for; `other`: nothing of ours, podman's volumes, say. `unknown`: no record knows it. */
export const SHARES = ['images', 'containers', 'artifacts', 'unneeded', 'staged', 'records', 'reserve', 'unknown', 'other'] as const;
export type Share = (typeof SHARES)[number];

/** What the records say of the ids of layers, images and containers: whose bytes a directory of that name is. */
export interface KnownIds {
  readonly layer: (id: string) => Extract<Share, 'images' | 'containers' | 'unneeded' | 'unknown'>;
  readonly isImage: (id: string) => boolean;
  readonly isContainer: (id: string) => boolean;
}

/**
 * Every byte that the file systems give to the roots, in allocated bytes, by what it is for: the sum is what `du` says. What is
 * mounted below is not counted, a file with several links once [p23].
 */
export async function bytesOnDisk(roots: readonly string[], known: KnownIds): Promise<Readonly<Record<Share, bigint>>> {
  // A walk of a million files is nothing for the thread that all else waits for; and what vanishes meanwhile is no failure.
  const { stdout } = await run(['du', '-x', '-0', '-B1', '-d2', '--', ...roots], { timeoutMs: WALK_TIMEOUT_MS });
  const sums = Object.fromEntries(SHARES.map((share) => [share, 0n])) as Record<Share, bigint>;
  for (const line of stdout.toString('utf8').split('\0')) {
    const [, digits, path = ''] = /^(\d+)\t([^]*)$/.exec(line) ?? [];
    const root = roots.find((candidate) => path === candidate || path.startsWith(`${candidate}/`));
    if (digits === undefined || root === undefined) continue;
    const parts = relative(root, path)
      .split('/')
      .filter((part) => part !== '');
    const bytes = BigInt(digits);
    sums[shareOf(parts, known)] += bytes;
    // A directory's sum has those of what is below it.
    if (parts.length > 0) sums[shareOf(parts.slice(0, -1), known)] -= bytes;
  }
  for (const root of roots) {
    const reserve = reserveFiles(root).reduce((sum, path) => sum + allocated(path), 0n);
    sums.reserve += reserve;
    sums.other -= reserve;
  }
  return sums;
}

/** Of what lies at a path below a root, one or two levels down, and in none of the directories further down. */
function shareOf([kind, name]: readonly string[], known: KnownIds): Share {
  if (kind === 'artifacts') return 'artifacts';
  if (kind === undefined || !/^overlay(-layers|-images|-containers)?$/.test(kind)) return 'other';
  if (name === undefined) return 'records';
  if (kind === 'overlay') return name === 'staging' || name === 'tempdirs' ? 'staged' : name === 'l' ? 'records' : known.layer(name);
  if (kind === 'overlay-layers') return name === 'tmp' ? 'staged' : known.layer(name) === 'unknown' ? 'unknown' : 'records';
  if (kind === 'overlay-images') return known.isImage(name) ? 'records' : 'unknown';
  return known.isContainer(name) ? 'containers' : 'unknown';
}

function allocated(path: string): bigint {
  try {
    return BigInt(lstatSync(path).blocks) * 512n;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    return 0n;
  }
}
