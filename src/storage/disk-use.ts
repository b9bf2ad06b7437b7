import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../errors/index.ts';
import type { HexId } from '../ids/index.ts';
import { chainOf } from './chains.ts';
import { type Share, bytesOnDisk } from './on-disk.ts';
import type { Store } from './store.ts';
import type { LayerRecord } from './types.ts';

/** One image's share; bytes of uncompressed layers and data items. */
export interface ImageUse {
  readonly id: HexId;
  readonly names: readonly string[];
  readonly size: bigint;
  /** Of that, what other images have too: it stays when this one goes. */
  readonly shared: bigint;
  readonly containers: number;
}

/** What takes up space below a storage root and its image store, in bytes; additional image stores take nothing of ours. */
export interface DiskUse {
  readonly images: readonly ImageUse[];
  /** All images together, each layer once. */
  readonly imageBytes: bigint;
  /** Of that, what no container needs. */
  readonly unusedImageBytes: bigint;
  readonly containers: readonly { readonly id: HexId; readonly name: string; readonly isMounted: boolean; readonly size: bigint }[];
  readonly artifacts: readonly { readonly name: string; readonly size: bigint }[];
  /** Layers that no image and no container uses: `crio check --repair` removes them. */
  readonly orphans: readonly { readonly id: HexId; readonly size: bigint }[];
  /** Everything below the storage root and the image store, in allocated bytes by what it is for. */
  readonly onDisk: Readonly<Record<Share, bigint>>;
}

/** Reads records, and walks what they do not know the size of: writable layers, artifacts, staging directories. */
export async function diskUse(store: Store, isMounted: (layer: HexId) => boolean): Promise<DiskUse> {
  const [layers, images, containers] = [await store.layers(), await store.ownImages(), await store.containers()];
  const byId = new Map(layers.map((layer) => [layer.id, layer] as const));
  const chains = new Map(images.map((image) => [image.id, [...chainOf(image.layer, (id) => byId.get(id))]] as const));
  const users = new Map<HexId, number>();
  for (const chain of chains.values()) for (const { id } of chain) users.set(id, (users.get(id) ?? 0) + 1);
  const needed = new Set(containers.flatMap((container) => [...chainOf(container.layer, (id) => byId.get(id))]).map(({ id }) => id));
  const used = images.map((image): ImageUse => {
    const chain = chains.get(image.id) ?? [];
    const data = [...image.bigDataSizes.values()].reduce((sum, size) => sum + size, 0n);
    const shared = sizeOf(chain.filter(({ id }) => (users.get(id) ?? 0) > 1));
    const own = containers.filter((container) => container.image === image.id).length;
    return { id: image.id, names: image.names, size: sizeOf(chain) + data, shared, containers: own };
  });
  const inImages = layers.filter(({ id }) => users.has(id));
  const orphans = layers.filter(({ id }) => !users.has(id) && !needed.has(id));
  const measured = containers.map(async ({ id, names, layer }) => ({
    id,
    name: names[0] ?? '',
    isMounted: isMounted(layer),
    size: await bytesBelow(store.layerDiffDirectory(layer)),
  }));
  const artifacts = (await store.artifacts.listOwn()).map(async ({ name, manifest, root }) => ({
    name,
    size: await artifactBytes(root, manifest),
  }));
  return {
    images: used,
    imageBytes: sizeOf(inImages),
    unusedImageBytes: sizeOf(inImages.filter(({ id }) => !needed.has(id))),
    containers: await Promise.all(measured),
    artifacts: await Promise.all(artifacts),
    orphans: orphans.map((layer) => ({ id: layer.id, size: sizeOf([layer]) })),
    onDisk: await bytesOnDisk([...new Set([store.graphRoot, store.imageRoot])], {
      layer: (id) => {
        if (!byId.has(id as HexId)) return 'unknown';
        return users.has(id as HexId) ? 'images' : needed.has(id as HexId) ? 'containers' : 'unneeded';
      },
      isImage: (id) => chains.has(id as HexId),
      isContainer: (id) => containers.some((container) => container.id === id),
    }),
  };
}

function sizeOf(layers: readonly LayerRecord[]): bigint {
  return layers.reduce((sum, { diffSize }) => sum + (diffSize > 0n ? diffSize : 0n), 0n);
}

async function artifactBytes(root: string, manifest: Buffer): Promise<bigint> {
  const digests = new Set(manifest.toString('utf8').match(/\bsha256:[0-9a-f]{64}\b/g) ?? []);
  const sizes = [...digests].map((digest) => allocated(join(root, 'blobs', digest.replace(':', '/'))));
  return (await Promise.all(sizes)).reduce((sum, bytes) => sum + bytes, BigInt(manifest.length));
}

/** Allocated bytes of everything below a directory; what vanishes meanwhile counts nothing. */
async function bytesBelow(directory: string): Promise<bigint> {
  let sum = 0n;
  try {
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      sum += await allocated(path);
      if (entry.isDirectory()) sum += await bytesBelow(path);
    }
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  return sum;
}

async function allocated(path: string): Promise<bigint> {
  try {
    return BigInt((await lstat(path)).blocks) * 512n;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    return 0n;
  }
}
