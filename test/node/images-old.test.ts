import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { unmountLazily } from '../../src/linux/index.ts';
import { runOk } from '../../src/process/index.ts';
import { ImageFixture } from '../harness/image-fixture.ts';
import { layerOf } from '../harness/images.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { RegistryStorage } from '../harness/registry-storage.ts';
import { type RunningRegistry, startRegistry } from '../harness/registry.ts';
import { StandInRegistry } from '../harness/stand-in-registry.ts';
import { toolPath, unpackedTool } from '../harness/tools.ts';

inPrivateNetwork(import.meta.filename);

const fixture = new ImageFixture();
const storage = new RegistryStorage(join(fixture.dir, 'registry'));
const SIGNED = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
let registry: RunningRegistry;

interface Schema1 {
  readonly fsLayers: readonly { readonly blobSum: string }[];
  readonly history: readonly { readonly v1Compatibility: string }[];
  readonly signatures?: readonly object[];
}

const skopeo = async (...args: string[]) =>
  (
    await runOk([unpackedTool('usr/bin/skopeo'), '--insecure-policy', ...args], {
      timeoutMs: 60_000,
      env: { PATH: toolPath, HOME: fixture.dir, XDG_RUNTIME_DIR: fixture.dir },
    })
  ).stdout.toString('utf8');

before(async () => {
  await fixture.start();
  registry = await startRegistry({ storage: storage.dir });
  await fixture.configure({}, `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`);
  const config = { Cmd: ['sh', '-c', 'a <b> & "c"'], Env: ['PATH=/bin', 'ODD=\u00e9\u2028'], Labels: { b: '1', a: '2' } };
  const layers = [{ tar: await layerOf({ a: '1', 'dir/b': 'x'.repeat(5000) }) }, { tar: await layerOf({ c: '2' }) }];
  const history = [
    { created: '2015-01-02T03:04:05.1200Z', created_by: '/bin/sh -c #(nop) ADD <file> in /' },
    { created: '2015-01-02T03:04:06Z', created_by: '/bin/sh -c #(nop) ENV PATH=/bin', empty_layer: true, author: 'somebody' },
    { created: '2015-01-02T03:04:07.5Z', created_by: '/bin/sh -c true', comment: 'done' },
  ];
  storage.putImage('new', 'latest', { layers, config, docker: true, more: { history, docker_version: '1.10.0' } });
  // skopeo makes the old format of it, and docker-registry takes it.
  const [from, to] = ['new', 'old'].map((name) => `docker://${registry.host}/${name}:latest`);
  await skopeo('copy', '--format', 'v2s1', '--src-tls-verify=false', '--dest-tls-verify=false', from ?? '', to ?? '');
});

afterEach(async () => {
  await fixture.nothingStaged();
  await fixture.clear();
});

after(async () => {
  await registry.stop();
  await fixture.end();
});

const name = (repository: string) => `${registry.host}/${repository}`;
const asked = () => registry.log().split('"GET ').length - 1;

describe('an image of docker schema 1', () => {
  it('[I43, I47, I50] is pulled, with the id that skopeo gives it, and its files and settings are there', async () => {
    const { imageId } = await fixture.images.pull(name('old'));
    const image = await fixture.images.find(imageId);
    assert.deepEqual(image?.config.cmd, ['sh', '-c', 'a <b> & "c"']);
    assert.deepEqual(image?.config.env, ['PATH=/bin', 'ODD=\u00e9\u2028']);
    assert.deepEqual(
      image?.config.history.map(({ emptyLayer }) => emptyLayer),
      [false, true, false],
    );
    const [record] = fixture.records();
    assert.deepEqual(record?.names, [`${name('old')}:latest`]);
    assert.equal(fixture.layers().length, 2);
    const top = fixture.store.layerDiffDirectory(record?.layer as Parameters<typeof fixture.store.layerDiffDirectory>[0]);
    assert.equal(readFileSync(join(top, 'c'), 'utf8'), '2');
    const theirs = await withSkopeosStore(async (store) => {
      await skopeo('copy', '--src-tls-verify=false', `docker://${name('old')}:latest`, `containers-storage:${store.spec}old`);
      return store.imageIds();
    });
    assert.deepEqual(theirs, [imageId]);
  });

  it('[I46] has the digest of its payload, without the signatures', async () => {
    await fixture.images.pull(name('old'));
    const digest = fixture.records()[0]?.digest ?? '';
    assert.equal((await skopeo('manifest-digest', rawManifest())).trim(), digest);
    await fixture.images.pull(`${name('old')}@${digest}`);
  });

  it('[I2] is not fetched again where its layers are', async () => {
    await fixture.images.pull(name('old'));
    const before = asked();
    const { imageId } = await fixture.images.pull(name('old'));
    assert.equal(asked() - before, 1);
    assert.equal(fixture.records()[0]?.id, imageId);
  });

  it('[I43] made by another tool shows its settings too', async () => {
    const graph = `[overlay@${fixture.store.graphRoot}+${fixture.store.runRoot}]`;
    await skopeo('copy', '--src-tls-verify=false', `docker://${name('old')}:latest`, `containers-storage:${graph}theirs.io/old:1`);
    assert.deepEqual((await fixture.images.find('theirs.io/old:1'))?.config.cmd, ['sh', '-c', 'a <b> & "c"']);
  });

  it('[a42] that contradicts itself is refused, and leaves nothing', async () => {
    const good = JSON.parse(readFileSync(rawManifest(), 'utf8')) as Schema1;
    const odd: readonly (readonly [object, RegExp])[] = [
      [{ ...good, history: good.history.slice(1) }, /length of history not equal to number of layers/],
      [{ ...good, fsLayers: [], history: [] }, /no FSLayers in manifest/],
      [{ ...good, fsLayers: good.fsLayers.map(() => ({ blobSum: 'sha256:../..' })) }, /invalid blobSum/],
      [{ ...good, history: good.history.map(() => ({ v1Compatibility: '[' })) }, /v1Compatibility: invalid JSON/],
      [{ ...good, signatures: [{ protected: Buffer.from('{"formatLength":99999999}').toString('base64url') }] }, /invalid formatLength/],
    ];
    const standIn = new StandInRegistry(storage.dir);
    await standIn.start();
    try {
      await fixture.configure(
        {},
        [registry.host, standIn.host].map((host) => `[[registry]]\nlocation = "${host}"\ninsecure = true\n`).join(''),
      );
      for (const [document, expected] of odd) {
        standIn.intercept = ({ path }, response) => {
          if (!path.includes('/manifests/')) return false;
          response.writeHead(200, { 'Content-Type': SIGNED }).end(JSON.stringify(document));
          return true;
        };
        await assert.rejects(fixture.images.pull(`${standIn.host}/old`), expected);
      }
      assert.deepEqual(fixture.layers(), []);
      assert.deepEqual(fixture.records(), []);
    } finally {
      await standIn.stop();
    }
  });
});

/** The manifest as docker-registry keeps it. */
function rawManifest(): string {
  const link = join(storage.dir, 'docker/registry/v2/repositories/old/_manifests/tags/latest/current/link');
  return storage.blobFile(readFileSync(link, 'utf8'));
}

/** A store of skopeo's own. */
async function withSkopeosStore<T>(work: (store: { spec: string; imageIds: () => string[] }) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(fixture.dir, 'theirs-'));
  const file = join(dir, 'graph/overlay-images/images.json');
  const imageIds = () => (existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { id: string }[]).map(({ id }) => id) : []);
  try {
    return await work({ spec: `[overlay@${dir}/graph+${dir}/run]`, imageIds });
  } finally {
    unmountLazily(join(dir, 'graph/overlay'));
    rmSync(dir, { recursive: true, force: true });
  }
}
