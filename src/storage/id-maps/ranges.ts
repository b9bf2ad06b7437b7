import { readFile } from 'node:fs/promises';
import { Failure, codeOf } from '../../errors/index.ts';
import type { IdMap } from '../archive/index.ts';
import type { AutoIdMap, IdMapping } from '../types.ts';

/** The user whose subordinate ids are containers' [G87]. */
const OWNER = 'containers';

/** `first` to `first + count - 1`. */
export interface IdRange {
  readonly first: number;
  readonly count: number;
}

export interface SubordinateIds {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/** What /etc/subuid and /etc/subgid give to user `containers`; a missing file gives nothing. */
export async function readSubordinateIds(): Promise<SubordinateIds> {
  const [uids, gids] = await Promise.all(['/etc/subuid', '/etc/subgid'].map(readSubordinateFile));
  return { uids: uids ?? [], gids: gids ?? [] };
}

async function readSubordinateFile(path: string): Promise<IdRange[]> {
  try {
    return parseSubordinateIds(await readFile(path, 'utf8'));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** subuid(5): `user:first:count`. Lines that are not are skipped, as shadow's own tools do. */
export function parseSubordinateIds(text: string): IdRange[] {
  return text.split('\n').flatMap((line) => {
    const [, first, count] = /^containers:(\d{1,10}):(\d{1,10})$/.exec(line.trim()) ?? [];
    return first === undefined || count === undefined ? [] : [{ first: Number(first), count: Number(count) }];
  });
}

/**
 * Maps of `auto.size` ids inside: the additional ones as they are, the rest to subordinate ids that no container has. Ranges may
 * be in pieces. Fails with ResourceExhausted if there are not enough.
 */
export function chooseIdMaps(auto: AutoIdMap, subordinate: SubordinateIds, taken: IdMap): IdMap {
  return {
    uids: choose('/etc/subuid', auto.size, auto.additional.uids, subordinate.uids, taken.uids),
    gids: choose('/etc/subgid', auto.size, auto.additional.gids, subordinate.gids, taken.gids),
  };
}

function choose(
  file: string,
  size: number,
  additional: readonly IdMapping[],
  subordinate: readonly IdRange[],
  taken: readonly IdMapping[],
): IdMapping[] {
  const inside = without(
    [{ first: 0, count: size }],
    additional.map((map) => ({ first: map.containerId, count: map.size })),
  );
  const outside = without(
    subordinate,
    [...taken, ...additional].map((map) => ({ first: map.hostId, count: map.size })),
  );
  const wanted = total(inside);
  if (total(outside) < wanted)
    throw new Failure('ResourceExhausted', `not enough unused IDs in user namespace: ${wanted} are needed, ${total(outside)} are free`, {
      advice: `Give user "${OWNER}" more ids in ${file}, ask for a smaller size, or use the user namespaces of Kubernetes (hostUsers: false), which need none.`,
    });
  return [...zip(inside, outside), ...additional].toSorted((a, b) => a.containerId - b.containerId);
}

/** What is left of ranges, in order, once others are cut out. */
function without(ranges: readonly IdRange[], others: readonly IdRange[]): IdRange[] {
  let left = ranges.toSorted((a, b) => a.first - b.first);
  for (const cut of others) {
    const end = cut.first + cut.count;
    left = left.flatMap((range) => {
      const before = { first: range.first, count: Math.min(range.count, cut.first - range.first) };
      const first = Math.max(range.first, end);
      const after = { first, count: range.first + range.count - first };
      return [before, after].filter(({ count }) => count > 0);
    });
  }
  return left;
}

function total(ranges: readonly IdRange[]): number {
  return ranges.reduce((sum, { count }) => sum + count, 0);
}

function zip(inside: readonly IdRange[], outside: readonly IdRange[]): IdMapping[] {
  const maps: IdMapping[] = [];
  const free = outside.map((range) => ({ ...range }));
  for (const { first, count } of inside) {
    for (let done = 0; done < count;) {
      const next = free[0];
      if (next === undefined) return maps; // Counted before.
      const size = Math.min(count - done, next.count);
      maps.push({ containerId: first + done, hostId: next.first, size });
      done += size;
      next.first += size;
      next.count -= size;
      if (next.count === 0) free.shift();
    }
  }
  return maps;
}
