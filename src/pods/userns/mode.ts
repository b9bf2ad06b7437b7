import { Failure } from '../../errors/index.ts';
import { type IDMapping, type IdMappings, type LinuxSandboxSecurityContext, recordMaps } from '../../oci/spec/index.ts';
import { parseIdMappings } from './mappings.ts';
import type { UsernsPlan } from './plan.ts';

/** Ids of a pod that does not say how many it wants [D87]. */
const DEFAULT_SIZE = 65536;
const MAX_UINT32 = 0xffffffff;

/** Of the configuration, deprecated but for `mappings` undefined. */
export interface UsernsSettings {
  /** `uid_mappings` with `gid_mappings`: of all pods that do not ask for others [G91]. */
  readonly mappings: IdMappings | undefined;
  /** `minimum_mappable_uid`, `minimum_mappable_gid`; negative: any host id may be mapped [D89]. */
  readonly minimumUid: number;
  readonly minimumGid: number;
}

/**
 * The deprecated annotation: `<auto|private>[:key=value;…]` with keys `size`, `uidmapping`, `gidmapping`, `keep-id`,
 * `map-to-root` [D85–D89, P11, P12].
 */
export function parseUsernsMode(text: string, security: LinuxSandboxSecurityContext | undefined, settings: UsernsSettings): UsernsPlan {
  const [mode, values] = split(text);
  const given = {
    uids: values.has('uidmapping') ? parseIdMappings(values.get('uidmapping') ?? '', 'UID') : undefined,
    gids: values.has('gidmapping') ? parseIdMappings(values.get('gidmapping') ?? '', 'GID') : undefined,
  };
  if (given.uids !== undefined || given.gids !== undefined) checkUser(security, settings);
  if (mode === 'auto') return { auto: autoMappings(text, values, given, security, settings) };
  if (mode === 'private') return { mappings: privateMappings(given, security, settings) };
  throw new Failure('InvalidArgument', `invalid userns mode: "${mode}"`, { advice: 'It begins with auto or private.' });
}

interface Given {
  readonly uids: readonly IDMapping[] | undefined;
  readonly gids: readonly IDMapping[] | undefined;
}

function split(text: string): readonly [mode: string, values: ReadonlyMap<string, string>] {
  const colon = text.indexOf(':');
  const values = new Map<string, string>();
  if (colon < 0) return [text, values];
  for (const argument of text.slice(colon + 1).split(';')) {
    const at = argument.indexOf('=');
    if (at < 0) throw new Failure('InvalidArgument', `invalid argument: "${argument}"`);
    values.set(argument.slice(0, at), argument.slice(at + 1));
  }
  return [text.slice(0, colon), values];
}

/** Who chooses ids must say as whom the pod runs, and may not reach below what the administrator set [D86]. */
function checkUser(security: LinuxSandboxSecurityContext | undefined, { minimumUid }: UsernsSettings): void {
  const refuse = (why: string) => new Failure('InvalidArgument', `cannot use uidmapping or gidmapping if ${why}`);
  const user = security?.runAsUser?.value;
  if (user === undefined) throw refuse('RunAsUser is not set');
  if (user === 0n) return;
  if (minimumUid < 0) throw refuse('not running as root and minimum mappable ID is not set');
  if (user < BigInt(minimumUid)) throw refuse(`running as a UID below minimum mappable ID ${minimumUid}`);
}

function autoMappings(
  text: string,
  values: ReadonlyMap<string, string>,
  given: Given,
  security: LinuxSandboxSecurityContext | undefined,
  settings: UsernsSettings,
) {
  const keepId = values.get('keep-id') === 'true';
  const mapToRoot = values.get('map-to-root') === 'true';
  if (keepId && mapToRoot) throw new Failure('InvalidArgument', `cannot use both keep-id and map-to-root: "${text}"`);
  const own = (id: number) => ({ containerId: keepId ? id : 0, hostId: id, length: 1 });
  const add = (maps: readonly IDMapping[], ids: readonly number[], own: ((id: number) => IDMapping) | undefined) =>
    ids.reduce<readonly IDMapping[]>((all, id) => (own === undefined ? withHostId(all, id) : [...all, own(id)]), maps);
  const ids = idsOf(security);
  const fixed = keepId || mapToRoot ? own : undefined;
  const additional = {
    uids: add(given.uids ?? [], ids.user, fixed),
    gids: add(add(given.gids ?? [], ids.group, fixed), ids.supplemental, keepId ? own : undefined),
  };
  checkMinimum(additional, settings);
  return { size: sizeOf(values.get('size')), additional: recordMaps(additional) };
}

function sizeOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_SIZE;
  const size = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(size <= MAX_UINT32)) throw new Failure('InvalidArgument', `invalid size of a user namespace: "${text}"`);
  return size;
}

/** One kind of map serves for both; without any the configured ones do [D88]. */
function privateMappings(given: Given, security: LinuxSandboxSecurityContext | undefined, settings: UsernsSettings): IdMappings {
  const base = { uids: given.uids ?? given.gids ?? settings.mappings?.uids, gids: given.gids ?? given.uids ?? settings.mappings?.gids };
  if (base.uids === undefined || base.gids === undefined)
    throw new Failure('InvalidArgument', 'userns requested but no userns mappings configured', {
      advice: 'Set uid_mappings and gid_mappings in crio.conf, or uidmapping in the annotation.',
    });
  const ids = idsOf(security);
  const mappings = {
    uids: ids.user.reduce(withHostId, base.uids),
    gids: [...ids.group, ...ids.supplemental].reduce(withHostId, base.gids),
  };
  checkMinimum(mappings, settings);
  return mappings;
}

/** What the pod's request names: these are ids of the host [F28]. */
function idsOf(security: LinuxSandboxSecurityContext | undefined) {
  const list = (value: bigint | undefined) => (value === undefined ? [] : [idNumber(value)]);
  return {
    user: list(security?.runAsUser?.value),
    group: list(security?.runAsGroup?.value),
    supplemental: (security?.supplementalGroups ?? []).map(idNumber),
  };
}

function idNumber(value: bigint): number {
  if (value < 0n || value >= BigInt(MAX_UINT32)) throw new Failure('InvalidArgument', `${value} is no user or group id`);
  return Number(value);
}

/** Maps with that host id in them: if it is missing, as the first id inside that is behind all others. */
function withHostId(maps: readonly IDMapping[], hostId: number): readonly IDMapping[] {
  if (maps.some((map) => hostId >= map.hostId && hostId < map.hostId + map.length)) return maps;
  const containerId = Math.max(0, ...maps.map((map) => map.containerId + map.length));
  return [...maps, { containerId, hostId, length: 1 }];
}

/** [D89] */
function checkMinimum({ uids, gids }: IdMappings, { minimumUid, minimumGid }: UsernsSettings): void {
  for (const [kind, maps, minimum] of [
    ['UID', uids, minimumUid],
    ['GID', gids, minimumGid],
  ] as const) {
    const low = maps.find(({ hostId }) => minimum >= 0 && hostId < minimum);
    if (low === undefined) continue;
    const range = `${low.hostId}-${low.hostId + low.length - 1}`;
    throw new Failure('InvalidArgument', `not allowed to map ${kind} range (${range}), below minimum mappable ${kind} ${minimum}`);
  }
}
