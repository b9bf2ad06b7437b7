import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hexOf, type HexId, isHexId, sha256 } from '../../../src/ids/index.ts';
import { createLogger, type Logger } from '../../../src/log/index.ts';
import { type ContainerRecord, type ImageRecord, Store, type StoreOptions } from '../../../src/storage/index.ts';

/** The default roots of CRI-O, podman and skopeo: on a test's machine they are its own. */
export const G = '/var/lib/containers/storage';
export const R = '/run/containers/storage';

/** What a store logged, for tests that look. */
export const logged: string[] = [];
const log: Logger = createLogger({ level: 'info', filter: undefined, write: (line) => void logged.push(line) });

export async function openStore(graphRoot = G, more: Partial<StoreOptions> = {}): Promise<Store> {
  return await Store.open({ graphRoot, runRoot: R, log, ...more });
}

/** Puts an image of `depth` layers into the store; layer n holds /layer-n, the last one /hello too. */
export async function makeImage(store: Store, name: string, depth = 1): Promise<ImageRecord> {
  let parent: HexId | undefined;
  for (let n = 0; n < depth; n++) {
    const diffId = sha256(`${name} ${n}`);
    const id = store.layerId(parent, diffId);
    const staged = await store.stageLayer();
    writeFileSync(join(staged.diffDir, `layer-${n}`), String(n));
    if (n === depth - 1) {
      mkdirSync(join(staged.diffDir, 'etc'));
      writeFileSync(join(staged.diffDir, 'etc/hello'), name);
    }
    writeFileSync(staged.tarSplitPath, 'tar-split');
    const content = { blobDigest: diffId, blobSize: 10, diffId, diffSize: 1024, compression: 0, uids: [0], gids: [0] } as const;
    const layer = await staged.commit({ id, parent, ...content, uids: [0], gids: [0] });
    parent = layer.id;
  }
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', config: { Labels: { name } } }));
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, name }));
  const id = hexOf(sha256(config));
  if (!isHexId(id)) throw new Error('no id');
  return await store.createImage({
    id,
    names: [name],
    layer: parent,
    digest: sha256(manifest),
    created: '2026-01-02T03:04:05.678Z',
    metadata: '{}',
    bigData: [
      { key: sha256(config), data: config },
      { key: `manifest-${sha256(manifest)}`, data: manifest },
      { key: 'manifest', data: manifest },
    ],
  });
}

export async function makeContainer(store: Store, image: ImageRecord, name: string): Promise<ContainerRecord> {
  return await store.createContainer({ names: [name], imageId: image.id, metadata: '{}', layerName: `${name}-layer` });
}

/** Puts one more layer on an image's, as another image with it. */
export async function upon(store: Store, base: ImageRecord, name: string): Promise<ImageRecord> {
  const staged = await store.stageLayer();
  writeFileSync(join(staged.diffDir, 'more'), name);
  const digest = base.digest ?? sha256(name);
  const content = { blobDigest: digest, blobSize: 10, diffId: digest, diffSize: 1024, compression: 0 } as const;
  const layer = await staged.commit({ ...content, uids: [0], gids: [0], id: store.layerId(base.layer, digest), parent: base.layer });
  const id = hexOf(sha256(name)) as HexId;
  return await store.createImage({ id, names: [name], layer: layer.id, digest, created: base.created, metadata: '{}', bigData: [] });
}
