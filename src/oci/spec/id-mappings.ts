import { Failure } from '../../errors/index.ts';
import type { IdMappings } from './input.ts';
import type { IDMapping } from './request.ts';

/** More lines than the kernel takes for /proc/PID/uid_map, see user_namespaces(7). */
export const MAX_MAPPINGS = 340;
/** The map is written in one piece, which must be shorter. */
const PAGE = 4096;
/** 4294967295 is "no id". */
const LAST_ID = 4294967294;

/**
 * Refuses what the kernel would: no range, too many, empty ones, ones that overlap or leave 32 bits; and maps without a root inside,
 * as whom a runtime starts everything [a12, p49].
 */
export function checkIdMappings(mappings: IdMappings): void {
  for (const [kind, ranges] of [
    ['user', mappings.uids],
    ['group', mappings.gids],
  ] as const) {
    const refuse = (why: string) =>
      new Failure('InvalidArgument', `invalid ${kind} id mappings of the pod: ${why}`, {
        advice: 'Ranges must not be empty and not overlap, and one of them must begin at id 0 of the pod.',
      });
    if (ranges.length === 0) throw refuse('there are none');
    if (ranges.length > MAX_MAPPINGS) throw refuse(`${ranges.length} ranges are more than the kernel takes (${MAX_MAPPINGS})`);
    const bytes = mapLines(ranges).length;
    if (bytes >= PAGE) throw refuse(`${ranges.length} ranges are ${bytes} bytes of text, and the kernel takes less than ${PAGE}`);
    for (const side of ['containerId', 'hostId'] as const) {
      const sorted = ranges.toSorted((a, b) => a[side] - b[side]);
      for (const [index, range] of sorted.entries()) {
        if (range.length === 0 || range[side] + range.length - 1 > LAST_ID) throw refuse(`range ${show(range)} is not within 32 bits`);
        const before = sorted[index - 1];
        if (before !== undefined && before[side] + before.length > range[side])
          throw refuse(`ranges ${show(before)} and ${show(range)} overlap`);
      }
    }
    if (toHost(0, ranges) === undefined) throw refuse('id 0 is not mapped');
  }
}

/** What the kernel reads from /proc/PID/uid_map. */
export function mapLines(ranges: readonly IDMapping[]): string {
  return ranges.map(({ containerId, hostId, length }) => `${containerId} ${hostId} ${length}\n`).join('');
}

function show({ containerId, hostId, length }: IDMapping): string {
  return `${containerId}:${hostId}:${length}`;
}

/** The host's ids of a user namespace's root; undefined without one: root is root. */
export function mappedRoot(mappings: IdMappings | undefined): { readonly uid: number; readonly gid: number } | undefined {
  return mappings === undefined ? undefined : hostOwner({ uid: 0, gid: 0 }, mappings);
}

/** The host's ids of ids inside; one that is not mapped stays as it is. */
export function hostOwner(
  inside: { readonly uid: number; readonly gid: number },
  mappings: IdMappings | undefined,
): { readonly uid: number; readonly gid: number } {
  if (mappings === undefined) return inside;
  return { uid: toHost(inside.uid, mappings.uids) ?? inside.uid, gid: toHost(inside.gid, mappings.gids) ?? inside.gid };
}

export function toHost(inside: number, ranges: readonly IDMapping[]): number | undefined {
  const range = ranges.find(({ containerId, length }) => inside >= containerId && inside < containerId + length);
  return range === undefined ? undefined : range.hostId + (inside - range.containerId);
}

/** The other way round. */
export function toContainer(host: number, ranges: readonly IDMapping[]): number | undefined {
  const range = ranges.find(({ hostId, length }) => host >= hostId && host < hostId + length);
  return range === undefined ? undefined : range.containerId + (host - range.hostId);
}

/** As records of the store say them. */
export function recordMaps({ uids, gids }: IdMappings) {
  const convert = (maps: readonly IDMapping[]) => maps.map(({ containerId, hostId, length }) => ({ containerId, hostId, size: length }));
  return { uids: convert(uids), gids: convert(gids) };
}
