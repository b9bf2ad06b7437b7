import { Failure } from '../../errors/index.ts';
import type { IdMapping } from '../types.ts';
import type { IdMap } from './types.ts';

/** 2³²−1 means "unchanged" to chown, so it is no id. */
const MAX_ID = 0xffff_fffe;

/** The ids of the host for those of an image; an id that the map leaves out fails the layer [cri-o-ondisk §4.1 step 5]. */
export class HostIds {
  readonly #map: IdMap;

  constructor(map: IdMap) {
    this.#map = map;
  }

  uid(id: number): number {
    return mapped(this.#map.uids, id, 'user');
  }

  gid(id: number): number {
    return mapped(this.#map.gids, id, 'group');
  }
}

function mapped(mappings: readonly IdMapping[], id: number, kind: string): number {
  if (!(id >= 0 && id <= MAX_ID)) throw new Failure('InvalidArgument', `${kind} id ${id} in a layer is out of range`, { code: 'EINVAL' });
  if (mappings.length === 0) return id;
  for (const { containerId, hostId, size } of mappings)
    if (id >= containerId && id < containerId + size) return hostId + (id - containerId);
  throw new Failure('InvalidArgument', `${kind} id ${id} in a layer is not mapped to the host`, {
    code: 'EINVAL',
    advice: `Widen the id map of the ${kind}s so that it covers ${id}.`,
  });
}
