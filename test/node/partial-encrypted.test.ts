import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, it } from 'node:test';
import { copyAsChunked, manifestOf, noise } from '../harness/chunked.ts';
import { annotationsFor, encrypted, encryptedCopy, newRecipient } from '../harness/encrypting.ts';
import { ImageFixture } from '../harness/image-fixture.ts';
import { layerOf } from '../harness/images.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { OCI, RegistryStorage } from '../harness/registry-storage.ts';
import { type RunningRegistry, startRegistry } from '../harness/registry.ts';
import { StandInRegistry } from '../harness/stand-in-registry.ts';

inPrivateNetwork(import.meta.filename);

const fixture = new ImageFixture();
const storage = new RegistryStorage(join(fixture.dir, 'registry'));
/** Tells what was asked for. */
const source = new StandInRegistry(storage.dir);
const ours = newRecipient(join(fixture.dir, 'recipients'), 'ours');
let registry: RunningRegistry;

/** What it says of a layer that shares the large one of its two files with the image of before. */
const SHARED = /bytes fetched, 1 of 2 files were in the store/;

before(async () => {
  await fixture.start();
  registry = await startRegistry({ storage: storage.dir });
  await source.start();
  const insecure = [registry.host, source.host].map((host) => `[[registry]]\nlocation = "${host}"\ninsecure = true\n`).join('');
  fixture.write('keys/node.pem', ours.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await fixture.configure({ partialImages: true, decryptionKeysPath: join(fixture.dir, 'keys') }, insecure);
  const large = noise(1, 400_000);
  storage.putImage('before', 'latest', { layers: [{ tar: await layerOf({ large, small: noise(2, 20_000) }) }] });
  storage.putImage('next-gzip', 'latest', { layers: [{ tar: await layerOf({ large, small: noise(3, 20_000) }) }] });
  await encryptedCopy(registry.host, 'before', 'before-secret', [ours]);
  await copyAsChunked(`${registry.host}/next-gzip:latest`, `${registry.host}/next:latest`);
});

afterEach(async () => {
  await fixture.nothingStaged();
  await fixture.clear();
  fixture.logged = '';
});

after(async () => {
  await source.stop();
  await registry.stop();
  await fixture.end();
});

const pull = async (image: string, { host } = registry as { readonly host: string }) => await fixture.images.pull(`${host}/${image}`);

it('[J39, a47] no file of a layer that was decrypted is found by its checksum', async () => {
  await pull('before');
  await pull('next');
  assert.match(fixture.logged, SHARED);
  await fixture.clear();
  fixture.logged = '';
  await pull('before-secret');
  await pull('next');
  assert.match(fixture.logged, /is fetched as a whole: \d+ of its \d+ bytes would have to be fetched/);
  assert.doesNotMatch(fixture.logged, SHARED);
});

it('[J39, I39] an encrypted layer is fetched as a whole, although it has a table of contents', async () => {
  const { config, layers } = manifestOf(storage, 'next', 'latest');
  const [layer] = layers;
  assert.ok(layer !== undefined);
  const secret = encrypted(readFileSync(storage.blobFile(layer.digest)));
  const annotations = { ...layer.annotations, ...(await annotationsFor(ours, secret)) };
  const blob = { ...storage.putBlob('next-secret', `${OCI.layer}+zstd+encrypted`, secret.blob), annotations };
  const configBlob = storage.putBlob('next-secret', OCI.config, readFileSync(storage.blobFile(config.digest)));
  storage.putManifest(
    'next-secret',
    OCI.manifest,
    { schemaVersion: 2, mediaType: OCI.manifest, config: configBlob, layers: [blob] },
    'latest',
  );
  await pull('before');
  await pull('next-secret', source);
  assert.ok(fixture.logged.includes(`Layer ${blob.digest} is fetched as a whole: it is encrypted`), fixture.logged);
  assert.deepEqual(
    source.seen.flatMap(({ headers }) => headers.range ?? []),
    [],
  );
  const record = (await fixture.store.layers()).find(({ compressedDiffDigest }) => compressedDiffDigest === layer.digest);
  assert.ok(record !== undefined, 'recorded as what it holds');
  const files = fixture.store.layerDiffDirectory(record.id);
  assert.deepEqual(readFileSync(join(files, 'large')), noise(1, 400_000));
  assert.deepEqual(readFileSync(join(files, 'small')), noise(3, 20_000));
});
