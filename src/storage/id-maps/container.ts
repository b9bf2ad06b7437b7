import { Failure } from '../../errors/index.ts';
import type { IdMap } from '../archive/index.ts';
import type { IdMapRequest } from '../driver/id-map.ts';
import type { Records } from '../ledger.ts';
import type { ContainerRecord, MountRequest, NewContainer } from '../types.ts';
import { chooseIdMaps, type SubordinateIds } from './ranges.ts';

/** The maps that a new container gets: those that were asked for, or ones from ids that no other container has. */
export function idMapsFor(records: Records, { idMap }: NewContainer, subordinate: SubordinateIds | undefined): IdMap | undefined {
  if (idMap === undefined || !('auto' in idMap)) return idMap;
  const taken = [...records.containers.values()];
  return chooseIdMaps(idMap.auto, subordinate ?? { uids: [], gids: [] }, {
    uids: taken.flatMap((container) => container.uidmap),
    gids: taken.flatMap((container) => container.gidmap),
  });
}

/** What a mount of a container with an id map needs; undefined for one without. */
export function idMapOf(container: ContainerRecord, { userNamespace }: MountRequest): IdMapRequest | undefined {
  if (container.uidmap.length === 0 && container.gidmap.length === 0) return undefined;
  const root = (map: ContainerRecord['uidmap']) => map.find((range) => range.containerId === 0)?.hostId ?? 0;
  if (userNamespace === undefined)
    throw new Failure('InvalidArgument', `container ${container.id} has an id map: mounting it needs a user namespace`);
  return { userNamespace, rootUid: root(container.uidmap), rootGid: root(container.gidmap) };
}

/** Containers/storage copies and chowns whole images there; this is told instead (docs/parity.md, J35). */
export function noIdMaps(home: string): Failure {
  return new Failure('FailedPrecondition', `layers below ${home} cannot be mounted with mapped ids`, {
    advice:
      'A pod with a user namespace needs id-mapped mounts: Linux 5.19 or newer, the storage root on a file system that has them (ext4, xfs, btrfs), and user.max_user_namespaces above zero. Run the pod with hostUsers: true meanwhile.',
  });
}
