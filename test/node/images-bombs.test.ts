import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createGzip, gzipSync, zstdCompressSync } from 'node:zlib';
import { buffer } from 'node:stream/consumers';
import { unmountLazily } from '../../src/linux/index.ts';
import { ImageFixture } from '../harness/image-fixture.ts';
import { layerOf } from '../harness/images.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { OCI, RegistryStorage } from '../harness/registry-storage.ts';
import { StandInRegistry } from '../harness/stand-in-registry.ts';

inPrivateNetwork(import.meta.filename);

const fixture = new ImageFixture();
const storage = new RegistryStorage(join(fixture.dir, 'registry'));
const registry = new StandInRegistry(storage.dir);
const graph = join(fixture.dir, 'graph');
const MEGABYTE = 1024 * 1024;

before(async () => {
  // A disk that a bomb fills quickly.
  mkdirSync(graph);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'tmpfs', graph]);
  await registry.start();
  await fixture.start();
  await fixture.configure({}, `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`);
});

after(async () => {
  await registry.stop();
  await fixture.end().catch(() => {});
  unmountLazily(graph);
});

/** The header of a file of so many megabytes. */
async function header(megabytes: number): Promise<Buffer> {
  const block = Buffer.from((await layerOf({ big: 'x' })).subarray(512, 1024));
  block.write((megabytes * MEGABYTE).toString(8).padStart(11, '0'), 124, 'latin1');
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** A tar whose one file is so many megabytes of zeros, in one gzip stream. */
async function zeros(megabytes: number): Promise<Buffer> {
  const gzip = createGzip();
  const done = buffer(gzip);
  gzip.write(await header(megabytes));
  for (let written = 0; written < megabytes; written++) gzip.write(Buffer.alloc(MEGABYTE));
  gzip.end(Buffer.alloc(1024));
  return await done;
}

/** Stores an image of this one blob. */
function put(name: string, blob: Buffer, suffix = '+gzip'): void {
  const layer = storage.putBlob(name, `${OCI.layer}${suffix}`, blob);
  const document = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [`sha256:${'1'.repeat(64)}`] } };
  const config = storage.putBlob(name, OCI.config, Buffer.from(JSON.stringify(document)));
  storage.putManifest(name, OCI.manifest, { schemaVersion: 2, mediaType: OCI.manifest, config, layers: [layer] }, 'latest');
}

const free = () => statfsSync(graph).bavail * statfsSync(graph).bsize;

it('[a41, J24] layers beyond what can be mounted are refused before any is fetched', async () => {
  const layer = storage.putBlob('deep', OCI.layer, await layerOf({ a: '1' }));
  const layers = Array<typeof layer>(10_000).fill(layer);
  const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) };
  const config = storage.putBlob('deep', OCI.config, Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs })));
  storage.putManifest('deep', OCI.manifest, { schemaVersion: 2, mediaType: OCI.manifest, config, layers }, 'latest');
  await assert.rejects(fixture.images.pull(`${registry.host}/deep`), /the image has 10000 layers, more than 500: max depth exceeded/);
  assert.deepEqual(registry.asked('/deep/blobs/'), [`/v2/deep/blobs/${config.digest}`]);
});

describe('a layer that unpacks to more than there is room for', () => {
  it('[a41] ends with an error, and the disk is as free as before', async () => {
    const blob = await zeros(300);
    assert.ok(blob.length < MEGABYTE);
    put('bomb', blob);
    const before = free();
    await assert.rejects(fixture.images.pull(`${registry.host}/bomb`), /the layer is larger than \d+ bytes/);
    await fixture.nothingStaged();
    await fixture.store.settled();
    assert.ok(before - free() < MEGABYTE, `${before - free()} bytes are missing`);
    assert.deepEqual(fixture.layers(), []);
  });

  it('[a41] also when it comes in many small pieces, each harmless', async () => {
    // Gzip members that follow each other are one stream, and likewise the frames and streams of the others.
    const member = gzipSync(Buffer.alloc(8 * MEGABYTE));
    put('members', Buffer.concat([gzipSync(await header(400)), ...Array<Buffer>(50).fill(member)]));
    await assert.rejects(fixture.images.pull(`${registry.host}/members`), /the layer is larger than \d+ bytes/);
    const frame = zstdCompressSync(Buffer.alloc(8 * MEGABYTE));
    put('frames', Buffer.concat([zstdCompressSync(await header(400)), ...Array<Buffer>(50).fill(frame)]), '+zstd');
    await assert.rejects(fixture.images.pull(`${registry.host}/frames`), /the layer is larger than \d+ bytes/);
    for (const program of ['bzip2', 'xz']) {
      const packed = (input: Buffer) => execFileSync(program, ['-c'], { input, maxBuffer: MEGABYTE });
      const stream = packed(Buffer.alloc(8 * MEGABYTE));
      put(program, Buffer.concat([packed(await header(400)), ...Array<Buffer>(50).fill(stream)]));
      await assert.rejects(fixture.images.pull(`${registry.host}/${program}`), /the layer is larger than \d+ bytes/);
    }
    await fixture.nothingStaged();
    await fixture.store.settled();
    assert.deepEqual(fixture.layers(), []);
  });
});
