// interop.ts NAME [ARGUMENT…]: what our store does in a root that it shares with podman and skopeo; exits 0 or not.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { hexOf, isHexId, sha256 } from '../../../src/ids/index.ts';
import { silentLogger } from '../../../src/log/index.ts';
import { readMountsSync } from '../../../src/linux/index.ts';
import { type ImageRecord, LayerUnpacker, type Store } from '../../../src/storage/index.ts';
import { checkStore } from './check.ts';
import { makeContainer, openStore } from './fixture.ts';

/** Puts an image of one uncompressed layer, the tar at `path`, into the store, as a pull does. */
async function importTar(store: Store, path: string, name: string): Promise<ImageRecord> {
  const tar = readFileSync(path);
  const unpacker = new LayerUnpacker({ log: silentLogger, maxThreads: 1 });
  const staged = await store.stageLayer();
  const { diffDir, tarSplitPath } = staged;
  async function* blob() {
    yield tar;
  }
  const content = await unpacker.unpack(blob(), { diffDir, tarSplitPath, blobDigest: sha256(tar), diffId: sha256(tar) });
  const layer = await staged.commit({ ...content, id: store.layerId(undefined, content.diffId), parent: undefined });
  await unpacker.close();
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['/bin/busybox', 'echo', 'it runs'], Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: [content.diffId] },
      history: [{ created_by: 'test' }],
    }),
  );
  const descriptor = (mediaType: string, digest: string, size: number) => ({ mediaType, digest, size });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: descriptor('application/vnd.oci.image.config.v1+json', sha256(config), config.length),
      layers: [descriptor('application/vnd.oci.image.layer.v1.tar', content.diffId, content.blobSize)],
    }),
  );
  const id = hexOf(sha256(config));
  assert.ok(isHexId(id));
  return await store.createImage({
    id,
    names: [name],
    layer: layer.id,
    digest: sha256(manifest),
    created: '2026-01-02T03:04:05Z',
    metadata: '{}',
    bigData: [
      { key: sha256(config), data: config },
      { key: `manifest-${sha256(manifest)}`, data: manifest },
      { key: 'manifest', data: manifest },
    ],
  });
}

const isMounted = (path: string) => readMountsSync().some((entry) => entry.mountPoint === path);

/** Imports, mounts a container, says so, and keeps the store open until its input ends; then checks that nothing was taken away. */
async function serve(tar: string): Promise<void> {
  const store = await openStore();
  const image = await importTar(store, tar, 'localhost/ours:1');
  const container = await makeContainer(store, image, 'k8s_ours_pod_ns_uid_0');
  const merged = await store.mountContainer(container.id);
  process.stdout.write(`${JSON.stringify({ image: image.id, container: container.id, merged })}\n`);
  for await (const line of process.stdin) {
    if (String(line).startsWith('images'))
      process.stdout.write(`${JSON.stringify((await store.images()).flatMap((found) => found.names))}\n`);
    if (String(line).startsWith('cycle')) {
      for (let round = 0; round < 10; round++) {
        const other = await makeContainer(store, image, `k8s_cycle_${round}`);
        assert.ok(isMounted(await store.mountContainer(other.id)));
        await store.unmountContainer(other.id, true);
        await store.deleteContainer(other.id);
      }
      process.stdout.write('"done"\n');
    }
  }
  assert.ok(isMounted(merged), 'still mounted');
  assert.ok((await store.container(container.id)) !== undefined);
  await store.deleteContainer(container.id);
  await store.close();
  checkStore(true);
}

const [name = '', tar = ''] = process.argv.slice(2);
if (name !== 'serve') throw new Error(`no scenario ${name}`);
await serve(tar);
