import { chownSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { OwnedFd, bindIdMapped, unmountIfMounted } from '../../linux/index.ts';

export interface IdMapRequest {
  /** Path of a user namespace with the map. */
  readonly userNamespace: string;
  /** The host's ids of root inside. */
  readonly rootUid: number;
  readonly rootGid: number;
}

export interface MappedLayer {
  /** The driver homes that layers may lie in. */
  readonly homes: readonly string[];
  /** The layer's own. */
  readonly directory: string;
  readonly lowers: readonly string[];
  readonly map: Pick<IdMapRequest, 'userNamespace'>;
  /** Where the copies are attached; made, and removed by `detach`. */
  readonly place: string;
}

/**
 * Attaches id-mapped copies of what the lowers lie on (a home for links, a layer's directory for its older
 * contents) below `place`, and answers the lowers through them.
 */
export function mapLowers(o: MappedLayer): { readonly lowers: string[]; readonly detach: () => void } {
  const { homes, directory, lowers, map, place } = o;
  const roots = new Map<string, string>();
  const detach = () => {
    for (const path of roots.values()) unmountIfMounted(path);
    rmSync(place, { recursive: true, force: true });
  };
  using namespace = new OwnedFd(openSync(map.userNamespace, 'r'));
  try {
    const inside = lowers.map((lower) => {
      const root = homes.find((home) => lower.startsWith(`${home}/l/`)) ?? directory;
      let path = roots.get(root);
      if (path === undefined) {
        path = join(place, String(roots.size));
        mkdirSync(path, { recursive: true, mode: 0o700 });
        roots.set(root, path);
        bindIdMapped(root, path, namespace.fd);
      }
      return `${path}${lower.slice(root.length)}`;
    });
    return { lowers: inside, detach };
  } catch (error) {
    detach();
    throw error;
  }
}

/** The upper of an overlay is not mapped: what is the container's own belongs to its root. */
export function giveToRoot(directory: string, { rootUid, rootGid }: IdMapRequest): void {
  for (const name of ['', 'diff', 'work', 'merged']) chownSync(join(directory, name), rootUid, rootGid);
}
