import type { HexId } from '../ids/index.ts';
import type { Records } from './ledger.ts';

interface Link {
  readonly id: HexId;
  readonly parent: HexId | undefined;
}

/** A layer and all below it that are known, topmost first. Records of other tools may stand upon themselves: each layer comes once. */
export function* chainOf<L extends Link>(top: HexId | undefined, get: (id: HexId) => L | undefined): Generator<L> {
  const seen = new Set<HexId>();
  for (let id = top; id !== undefined && !seen.has(id);) {
    seen.add(id);
    const layer = get(id);
    if (layer !== undefined) yield layer;
    id = layer?.parent;
  }
}

/** The layers that an image or a container stands upon. */
export function neededLayers({ layers, images, containers }: Pick<Records, 'layers' | 'images' | 'containers'>): ReadonlySet<HexId> {
  const tops = [
    ...images.values().flatMap((image) => [image.layer, ...image.mappedLayers]),
    ...containers.values().map((container) => container.layer),
  ];
  return union(tops, (id) => layers.get(id));
}

/** All layers of several chains. */
export function union(tops: readonly (HexId | undefined)[], get: (id: HexId) => Link | undefined): ReadonlySet<HexId> {
  const needed = new Set<HexId>();
  for (const top of tops) for (const { id } of chainOf(top, (below) => (needed.has(below) ? undefined : get(below)))) needed.add(id);
  return needed;
}
