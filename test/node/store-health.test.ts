import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import type { HexId } from '../../src/ids/index.ts';
import { type CheckOptions, Store, describe as described } from '../../src/storage/index.ts';
import { ImageFixture } from '../harness/image-fixture.ts';
import { layerOf } from '../harness/images.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { RegistryStorage } from '../harness/registry-storage.ts';
import { StandInRegistry } from '../harness/stand-in-registry.ts';

inPrivateNetwork(import.meta.filename);

const fixture = new ImageFixture();
const storage = new RegistryStorage(join(fixture.dir, 'registry'));
const registry = new StandInRegistry(storage.dir);
const EVERYTHING: CheckOptions = { digests: true, contents: true, maxOrphanAgeS: undefined };
const QUICK: CheckOptions = { digests: false, contents: false, maxOrphanAgeS: undefined };

before(async () => {
  await registry.start();
  await fixture.start();
  await fixture.configure({}, `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`);
  const base = { tar: await layerOf({ 'base/a': 'a'.repeat(3000), 'base/b': 'b', 'base/empty': '' }) };
  const middle = { tar: await layerOf({ 'middle/c': Buffer.alloc(100_000, 'c'), 'middle/d': 'd' }) };
  storage.putImage('one', 'latest', { layers: [base, middle, { tar: await layerOf({ top: 't' }) }] });
  storage.putImage('other', 'latest', { layers: [base, { tar: await layerOf({ other: 'o' }) }] });
});

afterEach(async () => {
  registry.forget();
  await fixture.clear();
  const { health } = fixture.store;
  await health.repair(await health.check({ ...QUICK, maxOrphanAgeS: -1 }), { removeContainers: true });
  assert.deepEqual(fixture.layers(), []);
});

after(async () => {
  await registry.stop();
  await fixture.end();
});

const name = (image: string) => `${registry.host}/${image}:latest`;
const findings = async (options = EVERYTHING) => (await fixture.store.health.check(options)).map(described);

/** Layers of an image, bottom-up. */
async function chainOf(image: string): Promise<HexId[]> {
  const chain: HexId[] = [];
  for (let id = (await fixture.images.find(name(image)))?.topLayer; id !== undefined; id = (await fixture.store.layer(id))?.parent)
    chain.unshift(id);
  return chain;
}

/** Everything in a directory: kinds, modes, times, contents. */
function fingerprint(dir: string): string {
  const hash = createHash('sha256');
  for (const entry of readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort()) {
    const stat = lstatSync(join(dir, entry));
    hash.update(`${entry} ${stat.mode} ${stat.ino} ${stat.mtimeMs} `);
    if (stat.isFile()) hash.update(readFileSync(join(dir, entry)));
  }
  return hash.digest('hex');
}

describe('a check of the store', () => {
  it('[J55, A205] finds nothing in a sound one, a container in it and an orphan that is young', async () => {
    await fixture.images.pull(name('one'));
    const { imageId } = await fixture.images.pull(name('other'));
    const container = await fixture.store.createContainer({ names: ['c'], imageId, metadata: '{}', layerName: 'c-layer' });
    await fixture.store.mountContainer(container.id);
    assert.deepEqual(await findings(), []);
    assert.deepEqual(await findings({ ...EVERYTHING, maxOrphanAgeS: 3600 }), []);
    await fixture.store.deleteContainer(container.id);
  });

  const damages: readonly (readonly [what: string, quick: boolean, damage: (layer: string, image: string) => void, expected: RegExp])[] = [
    [
      'a file cut short, as power cuts leave them',
      false,
      (layer) => truncateSync(join(layer, 'diff/middle/c'), 0),
      /middle\/c": it has 0 bytes, not 100000/,
    ],
    ['a byte that is another', false, (layer) => writeFileSync(join(layer, 'diff/middle/d'), 'x'), /layer content incorrect digest/],
    ['a file that is missing', false, (layer) => unlinkSync(join(layer, 'diff/middle/c')), /middle\/c": .*no such file/],
    ['a directory that is missing in it', false, (layer) => rmSync(join(layer, 'diff/middle'), { recursive: true }), /middle/],
    ['a mode that is another', false, (layer) => chmodSync(join(layer, 'diff/middle/d'), 0o4755), /"middle\/d": its mode is 4755, not 644/],
    [
      'a link to a device in the place of a file',
      false,
      (layer) => {
        unlinkSync(join(layer, 'diff/middle/d'));
        symlinkSync('/dev/zero', join(layer, 'diff/middle/d'));
      },
      /middle\/d"/,
    ],
    ['contents that are gone', true, (layer) => renameSync(join(layer, 'diff'), join(layer, 'elsewhere')), /: layer is missing$/m],
    ['a directory that is gone', true, (layer) => renameSync(layer, `${layer}.gone`), /: layer is missing$/m],
    ['a link file that is empty', true, (layer) => writeFileSync(join(layer, 'link'), ''), /its link file is missing or broken/],
    ['a lower file that is empty', true, (layer) => writeFileSync(join(layer, 'lower'), ''), /its lower file /],
    [
      'a lower file that leads past its parent',
      true,
      (layer) => writeFileSync(join(layer, 'lower'), `l/${'A'.repeat(26)}`),
      /does not name its parent/,
    ],
    [
      'a link that leads to another layer',
      true,
      (layer) => {
        const link = join(layer, '../l', readFileSync(join(layer, 'link'), 'utf8'));
        unlinkSync(link);
        symlinkSync(`../${'0'.repeat(64)}/diff`, link);
      },
      /leads to another layer/,
    ],
    [
      'a tar-split that is cut short',
      false,
      (layer) => truncateSync(join(layer, `../../overlay-layers/${layer.slice(-64)}.tar-split.gz`), 30),
      /its tar-split holds unexpected end of file/,
    ],
    [
      'an image without its config',
      true,
      (_, image) => rmSync(dataFile(image, (text) => text.startsWith('sha256:'))),
      /image data item is missing/,
    ],
    [
      'an empty manifest',
      true,
      (_, image) => truncateSync(join(image, 'manifest'), 0),
      /data item "manifest": image data item has incorrect size/,
    ],
    [
      'a config that is another',
      false,
      (_, image) => {
        const file = dataFile(image, (text) => text.startsWith('sha256:'));
        writeFileSync(file, readFileSync(file, 'utf8').replace('2026', '2027'));
      },
      /image data item has incorrect digest/,
    ],
  ];

  for (const [what, isQuick, damage, expected] of damages) {
    it(`[J55, J59, p28] finds ${what}, repairs it, and leaves all else as it is`, async () => {
      await fixture.images.pull(name('one'));
      await fixture.images.pull(name('other'));
      const [base = '', middle = ''] = await chainOf('one');
      const home = join(fixture.dir, 'graph/overlay');
      const image = (await fixture.images.find(name('one')))?.id ?? '';
      const sound = [base, ...(await chainOf('other'))].map((id) => [id, fingerprint(join(home, id))] as const);
      damage(join(home, middle), join(fixture.dir, 'graph/overlay-images', image));
      const found = await findings();
      assert.match(found.join('\n'), expected);
      assert.ok(
        found.some((line) => line.startsWith(`image ${image}: `)),
        found.join('\n'),
      );
      assert.equal((await findings(QUICK)).length > 0, isQuick, 'what a quick check tells');
      const { remaining, images } = await fixture.store.health.repair(await fixture.store.health.check(EVERYTHING), {
        removeContainers: false,
      });
      assert.deepEqual(remaining, []);
      assert.deepEqual(images, [name('one')]);
      for (const [id, was] of sound) assert.equal(fingerprint(join(home, id)), was, `layer ${id} was touched`);
      assert.deepEqual(await findings(), []);
      // What it lost comes back, and only that is fetched.
      registry.forget();
      await fixture.images.pull(name('one'));
      const digestOfBase = (
        JSON.parse(readFileSync(join(fixture.dir, 'graph/overlay-images', image, 'manifest'), 'utf8')) as { layers: { digest: string }[] }
      ).layers[0]?.digest;
      assert.ok(!registry.seen.some(({ path }) => path.endsWith(digestOfBase ?? '?')), 'a sound layer was fetched again');
      assert.deepEqual(await findings(), []);
    });
  }

  it('[p28] a layer that lost what leads below it is never mounted, and a pull mends whatever cannot be mounted', async () => {
    const { imageId } = await fixture.images.pull(name('one'));
    const container = (id: string) => fixture.store.createContainer({ names: [id], imageId, metadata: '{}', layerName: `${id}-layer` });
    const old = await container('old');
    const [base = '', middle = '', top = ''] = await chainOf('one');
    const home = join(fixture.dir, 'graph/overlay');
    const bases = fingerprint(join(home, base));
    const lower = (layer: string) => readFileSync(join(home, layer, 'lower'), 'utf8');
    const cuts: readonly (readonly [layer: string, damage: () => void])[] = [
      [top, () => writeFileSync(join(home, top, 'lower'), lower(top).slice(0, 28))],
      [top, () => rmSync(join(home, top, 'lower'))],
      [top, () => rmSync(join(home, top, 'link'))],
      [middle, () => renameSync(join(home, middle, 'diff'), join(home, middle, 'elsewhere'))],
      [middle, () => rmSync(join(home, middle), { recursive: true })],
    ];
    for (const [number, [layer, damage]] of cuts.entries()) {
      damage();
      // Everything is read anew, as by a daemon that starts; or not, as by one that runs.
      if (layer === top) writeFileSync(join(fixture.dir, 'graph/overlay-layers/layers.lock'), Buffer.alloc(64, number + 1));
      assert.ok((await findings(QUICK)).some((line) => line.startsWith(`layer ${layer}: `)));
      if (layer === top) await assert.rejects(container(`c${number}`), { message: new RegExp(`^layer ${top} is damaged: `) });
      registry.forget();
      await fixture.images.pull(name('one'));
      assert.equal(registry.seen.filter(({ path }) => path.includes('/blobs/')).length, 1, 'its blob alone');
      assert.deepEqual(await findings(), []);
      const { id } = await container(`c${number}`);
      const merged = await fixture.store.mountContainer(id);
      assert.deepEqual(
        ['top', 'middle/d', 'base/b'].map((file) => readFileSync(join(merged, file), 'utf8')),
        ['t', 'd', 'b'],
      );
      // Containers of before stand upon what was made anew.
      assert.ok(existsSync(join(await fixture.store.mountContainer(old.id), 'middle/d')));
      await fixture.store.unmountContainer(old.id, true);
      await fixture.store.deleteContainer(id);
    }
    assert.equal(fingerprint(join(home, base)), bases);
    const data = join(fixture.dir, 'graph/overlay-images', imageId);
    for (const file of [join(data, 'manifest'), dataFile(data, (text) => text.startsWith('sha256:'))]) {
      truncateSync(file, 0);
      await fixture.images.pull(name('one'));
      assert.deepEqual(await findings(), []);
    }
    // Running containers lose nothing: what they stand upon is not replaced under them.
    await fixture.store.mountContainer(old.id);
    rmSync(join(home, top, 'link'));
    await assert.rejects(
      fixture.images.pull(name('one')),
      /is damaged \(its link file is missing or broken\), and mounted containers stand upon it/,
    );
    await fixture.store.deleteContainer(old.id);
    await fixture.images.pull(name('one'));
    assert.deepEqual(await findings(), []);
  });

  it('[J59, A209] leaves what a container needs, unless containers may go, and never one that is mounted', async () => {
    const { imageId } = await fixture.images.pull(name('one'));
    const container = await fixture.store.createContainer({ names: ['c'], imageId, metadata: '{}', layerName: 'c-layer' });
    const [, middle = ''] = await chainOf('one');
    truncateSync(join(fixture.dir, 'graph/overlay', middle, 'diff/middle/c'), 1);
    const { health } = fixture.store;
    const found = await health.check(EVERYTHING);
    assert.deepEqual([...new Set(found.map(({ kind }) => kind))].sort(), ['container', 'image', 'layer']);
    assert.equal((await health.repair(found, { removeContainers: false })).remaining.length, found.length);
    await fixture.store.mountContainer(container.id);
    assert.equal((await health.repair(found, { removeContainers: true })).remaining.length, found.length);
    await fixture.store.unmountContainer(container.id, true);
    // Nor one that a container has as a volume, of which only the mount tells.
    await fixture.store.mountImage(imageId);
    assert.deepEqual(
      (await health.repair(found, { removeContainers: true })).remaining.map(({ kind }) => kind),
      found.map(({ kind }) => kind).filter((kind) => kind !== 'container'),
    );
    await fixture.store.unmountImage(imageId);
    assert.deepEqual((await health.repair(found, { removeContainers: true })).remaining, []);
    assert.deepEqual(fixture.records(), []);
    assert.equal(await fixture.store.container(container.id), undefined);
    assert.ok(!existsSync(join(fixture.dir, 'graph/overlay-containers', container.id)));
  });

  it('[J55] takes layers that nobody uses for debris when they are old enough', async () => {
    const { imageId } = await fixture.images.pull(name('one'));
    const images = join(fixture.dir, 'graph/overlay-images');
    const [top] = (await chainOf('one')).slice(-1);
    // As a pull leaves them that was killed after its layers, before its image.
    rmSync(join(images, imageId), { recursive: true });
    const { health } = fixture.store;
    await health.repair(await health.check(QUICK), { removeContainers: false });
    assert.deepEqual(await findings({ ...QUICK, maxOrphanAgeS: 3600 }), []);
    const orphans = await findings({ ...QUICK, maxOrphanAgeS: -1 });
    assert.ok(orphans.includes(`layer ${top}: layer not referenced by any images or containers`));
    assert.equal(orphans.length, 3);
  });
});

describe('after a power cut', () => {
  const journal = join(fixture.dir, 'graph/.crio-unsynced');
  const otherStore = async () =>
    await Store.open({ graphRoot: join(fixture.dir, 'graph'), runRoot: join(fixture.dir, 'run'), log: fixture.log });

  it('[p27] only the layers that had not reached the disk are looked at, and what is damaged goes', async () => {
    await fixture.images.pull(name('one'));
    await fixture.images.pull(name('other'));
    const [base, middle = '', top] = await chainOf('one');
    const home = join(fixture.dir, 'graph/overlay');
    truncateSync(join(home, middle, 'diff/middle/c'), 0);
    // The boot that wrote the list has ended.
    writeFileSync(journal, JSON.stringify({ boot: 'another', layers: [middle, top] }));
    const store = await otherStore();
    assert.deepEqual(store.health.lostImages, [name('one')]);
    assert.deepEqual(await findings(), []);
    assert.ok(existsSync(join(home, base ?? '')));
    assert.ok(!existsSync(join(home, middle)));
    assert.ok(!existsSync(journal));
    assert.ok((await fixture.images.find(name('other'))) !== undefined);
    await store.close();
  });

  it('[p27] a list that cannot be read stops nothing', async () => {
    for (const text of ['', '{', '[]', '{"boot":1,"layers":["../x",1]}']) {
      writeFileSync(journal, text);
      const store = await otherStore();
      assert.deepEqual(store.health.lostImages, []);
      await store.close();
    }
  });

  it('[p27] is not what a crash of the daemon is: nothing is looked at, and the rest is made durable', async () => {
    await fixture.images.pull(name('one'));
    await fixture.store.syncFileSystem();
    const before = fixture.logged.length;
    const store = await otherStore();
    await store.close();
    assert.ok(!existsSync(journal));
    assert.ok(!fixture.logged.slice(before).includes('The machine went down'));
  });
});

/** The file of a data item whose name, in base64, is of this kind. */
function dataFile(image: string, isWanted: (name: string) => boolean): string {
  const file = readdirSync(image).find(
    (entry) => entry.startsWith('=') && isWanted(Buffer.from(entry.slice(1), 'base64').toString('utf8')),
  );
  return join(image, file ?? '?');
}
