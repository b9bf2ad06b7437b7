import assert from 'node:assert/strict';
import { existsSync, lstatSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { kindOf, textOf } from '../../src/errors/index.ts';
import type { ImageReference, PullProgress } from '../../src/images/index.ts';
import { ImageFixture } from '../harness/image-fixture.ts';
import { imageStorage, layerOf } from '../harness/images.ts';
import { runOk } from '../../src/process/index.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { OCI, RegistryStorage } from '../harness/registry-storage.ts';
import { type RunningRegistry, startRegistry } from '../harness/registry.ts';
import { toolPath, unpackedTool } from '../harness/tools.ts';

inPrivateNetwork(import.meta.filename);

const fixture = new ImageFixture();
const storage = new RegistryStorage(join(fixture.dir, 'registry'));
let registry: RunningRegistry;
let layers: { tar: Buffer }[] = [];

before(async () => {
  await fixture.start();
  registry = await startRegistry({ storage: storage.dir });
  layers = [{ tar: await layerOf({ 'etc/os-release': 'ID=test\n', 'bin/': '' }) }, { tar: await layerOf({ 'bin/tool': '#!/bin/sh\n' }) }];
  await fixture.configure({}, `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`);
});

afterEach(async () => {
  await fixture.nothingStaged();
  await fixture.clear();
  assert.deepEqual(fixture.layers(), []);
});

after(async () => {
  await registry.stop();
  await fixture.end();
});

const name = (repository: string) => `${registry.host}/${repository}`;
const pull = async (repository: string) => (await fixture.images.pull(name(repository))).imageId;
const asked = (part: string) =>
  registry
    .log()
    .split('\n')
    .filter((line) => line.includes(`"GET `) && line.includes(part)).length;

describe('a pull', () => {
  it('[I1, I47, I50] answers the config digest and records an image as containers/storage does', async () => {
    const config = { Cmd: ['/bin/tool'], User: '1000:1000', Labels: { maintainer: 'x' }, Env: ['A=b'] };
    const manifest = storage.putImage('app', '1.0', { layers, config, annotations: { 'org.opencontainers.image.title': 'app' } });
    const { imageId, imageRef } = await fixture.images.pull(name('app:1.0'));
    const document = JSON.parse(manifest.bytes.toString('utf8')) as { config: { digest: string } };
    assert.equal(`sha256:${imageId}`, document.config.digest);
    assert.equal(imageRef, imageId);
    const [record] = fixture.records();
    assert.deepEqual(record?.names, [name('app:1.0')]);
    assert.equal(record?.digest, manifest.digest);
    assert.equal(record?.metadata, '{}');
    assert.equal(record?.created, '2026-01-02T03:04:05Z');
    assert.deepEqual(record?.['big-data-names'], [document.config.digest, `manifest-${manifest.digest}`, 'manifest']);
    assert.deepEqual(await fixture.store.imageBigData(imageId, 'manifest'), manifest.bytes);
    assert.equal(record?.layer, fixture.layers().at(-1));
  });

  it('[I66, I67, I68, I70] is seen as CRI shows images', async () => {
    const config = { Cmd: ['/bin/tool'], User: '1000:1000' };
    const manifest = storage.putImage('shown', 'latest', { layers, config, annotations: { note: 'x' } });
    const image = await fixture.images.find(await pull('shown'));
    assert.deepEqual(image?.repoTags, [name('shown:latest')]);
    assert.deepEqual(image?.repoDigests, [`${name('shown')}@${manifest.digest}`]);
    assert.deepEqual(image?.user, { uid: 1000 });
    assert.deepEqual([...(image?.annotations ?? [])], [['note', 'x']]);
    const configBytes = Buffer.byteLength(image?.rawConfig ?? '');
    const layerBytes = layers.reduce((sum, { tar }) => sum + tar.length, 0);
    assert.equal(image?.size, BigInt(layerBytes + configBytes + 2 * manifest.size));
    assert.equal(image?.pinned, false);
  });

  for (const docker of [false, true]) {
    for (const format of ['gzip', 'zstd', 'none'] as const) {
      it(`[I43] of ${docker ? "docker's" : 'the OCI'} format with layers of ${format}`, async () => {
        storage.putImage(`f-${format}`, 'latest', { layers: layers.map(({ tar }) => ({ tar, format })), docker });
        await pull(`f-${format}`);
        assert.equal(fixture.layers().length, 2);
      });
    }
  }

  for (const docker of [false, true]) {
    it(`[I44, I50] of ${docker ? 'a manifest list' : 'an index'} takes this machine's image and keeps the list`, async () => {
      const own = process.arch === 'x64' ? 'amd64' : process.arch;
      const other = storage.putImage('multi', undefined, { layers, docker, more: { architecture: 's390x' } });
      const mine = storage.putImage('multi', undefined, { layers: layers.slice(0, 1), docker });
      const entries = [
        { ...other, platform: { os: 'linux', architecture: 's390x' } },
        { ...mine, platform: { os: 'linux', architecture: own } },
      ];
      const index = storage.putIndex('multi', 'latest', entries, docker);
      const id = await pull('multi');
      const [record] = fixture.records();
      assert.equal(record?.digest, index.digest);
      assert.deepEqual(record?.['big-data-names'].slice(1), [`manifest-${index.digest}`, `manifest-${mine.digest}`, 'manifest']);
      for (const digest of [index.digest, mine.digest]) assert.equal((await fixture.images.find(`${name('multi')}@${digest}`))?.id, id);
      assert.deepEqual(
        (await fixture.images.find(id))?.repoDigests,
        [index.digest, mine.digest].sort().map((digest) => `${name('multi')}@${digest}`),
      );
    });
  }

  it('[I46] by digest, beside a tag that is dropped', async () => {
    const { digest } = storage.putImage('pinned', 'latest', { layers });
    await fixture.images.pull(`${name('pinned:whatever')}@${digest}`);
    assert.deepEqual(fixture.records()[0]?.names, [`${name('pinned')}@${digest}`]);
  });

  it('[I45] of another platform is made, with a word in the log', async () => {
    storage.putImage('foreign', 'latest', { layers, more: { architecture: 's390x' } });
    await pull('foreign');
    assert.match(fixture.logged, /Image operating system mismatch: image uses OS \\"linux\\"\+architecture \\"s390x\\"/);
  });

  it('[I2, C22] always asks the registry, and takes layers that are there', async () => {
    storage.putImage('again', 'latest', { layers });
    await pull('again');
    const [manifests, blobs] = [asked('/again/manifests/'), asked('/again/blobs/')];
    const steps: PullProgress['step'][] = [];
    await fixture.images.pull(name('again'), { onProgress: ({ step }) => steps.push(step) });
    assert.equal(asked('/again/manifests/'), manifests + 1);
    assert.equal(asked('/again/blobs/'), blobs);
    assert.deepEqual(steps, ['resolved', 'reused', 'reused', 'recorded']);
    assert.equal(fixture.records().length, 1);
  });

  it('[I2] writes nothing where all is there, and mends what is not', async () => {
    storage.putImage('mended', 'latest', { layers });
    await pull('mended');
    const [record] = fixture.records();
    const file = join(fixture.dir, 'graph/overlay-images/images.json');
    const item = join(fixture.dir, 'graph/overlay-images', record?.id ?? '', 'manifest');
    const before = statSync(file, { bigint: true }).mtimeNs;
    await fixture.images.pull(name('mended'));
    assert.equal(statSync(file, { bigint: true }).mtimeNs, before);
    const whole = readFileSync(item);
    for (const damage of [() => rmSync(item), () => writeFileSync(item, '{}')]) {
      damage();
      await fixture.images.pull(name('mended'));
      assert.deepEqual(readFileSync(item), whole);
    }
  });

  it('[I49] adds a name to an image that is there, and moves a tag', async () => {
    const one = { layers: layers.slice(0, 1) };
    storage.putImage('moving', 'a', one);
    storage.putImage('moving', 'b', one);
    const first = await pull('moving:a');
    assert.equal(await pull('moving:b'), first);
    assert.deepEqual(fixture.records()[0]?.names, [name('moving:b'), name('moving:a')]);
    storage.putImage('moving', 'a', { layers });
    const second = await pull('moving:a');
    assert.notEqual(second, first);
    assert.deepEqual((await fixture.images.find(first))?.names, [name('moving:b')]);
  });

  it('[I20] sends the user agent, over one connection as far as it goes', async () => {
    storage.putImage('agent', 'latest', { layers });
    await pull('agent');
    assert.match(registry.log(), /\/v2\/agent\/manifests\/latest HTTP\/1\.1" 200 \d+ "" "cri-o\/1\.37\.0 /);
    assert.equal(asked('"GET /v2/ '), 0);
  });
});

describe('what cannot be pulled', () => {
  const refusal = async (reference: string) => {
    try {
      await fixture.images.pull(reference);
    } catch (error) {
      assert.equal(kindOf(error), 'Unknown');
      return textOf(error);
    }
    throw new Error('it was pulled');
  };

  it('[I7, I51, I52] a tag that is not there', async () => {
    const where = `reading manifest no in ${name('app')}: manifest unknown`;
    const image = `pull image err: initializing source docker://${name('app:no')}: ${where}`;
    const artifact = `artifact err: image reference: get manifest from ref: create image source: ${where}`;
    assert.equal(await refusal(name('app:no')), `unable to pull image or OCI artifact: ${image}; ${artifact}`);
  });

  it('[I44] an index without this platform', async () => {
    const other = storage.putImage('others', undefined, { layers });
    storage.putIndex('others', 'latest', [{ ...other, platform: { os: 'linux', architecture: 's390x' } }]);
    assert.match(await refusal(name('others')), /no image found in image index for architecture "\w+", variant "\w*", OS "linux"/);
  });

  /** An image whose layer claims to be of a type, and to lie elsewhere as well. */
  const withLayer = (repository: string, mediaType: string, more: object = {}) => {
    const made = JSON.parse(storage.putImage(repository, undefined, { layers: layers.slice(0, 1) }).bytes.toString('utf8')) as {
      layers: [object];
    };
    const layer = { ...made.layers[0], mediaType, urls: ['https://x.invalid/'], ...more };
    storage.putManifest(repository, OCI.manifest, { ...made, layers: [layer] }, 'latest');
  };

  it('[I43, a44] foreign layers that the registry does not have, by name: no other host is asked; those that it has are pulled', async () => {
    for (const [index, foreign] of [
      'docker.image.rootfs.foreign.diff.tar.gzip',
      'oci.image.layer.nondistributable.v1.tar+gzip',
    ].entries()) {
      withLayer(`foreign-${index}`, `application/vnd.${foreign}`);
      await pull(`foreign-${index}`);
      await fixture.clear();
      withLayer(`foreign-${index}`, `application/vnd.${foreign}`, { digest: `sha256:${'5'.repeat(64)}` });
      assert.match(
        await refusal(name(`foreign-${index}`)),
        /sha256:5+ is a foreign layer \(application\/vnd\.[^)]*\) that the registry does not have/,
      );
    }
  });

  it('[a50] layers of unknown media types, by name: a file system that the kernel would have to mount, for instance', async () => {
    for (const type of ['application/vnd.erofs.layer.v1', 'application/vnd.oci.image.layer.v1.squashfs', '']) {
      withLayer('odd', type);
      const message = await refusal(name('odd'));
      assert.ok(message.includes(`layer 0 (sha256:`) && message.includes(`has the unknown media type "${type}": not supported`), message);
    }
  });

  it('[I6, I29, I31] what the policy refuses, in the namespace that it is for', async () => {
    storage.putImage('policed', 'latest', { layers });
    fixture.write('policies/strict.json', '{"default":[{"type":"reject"}]}');
    const before = asked('/policed/');
    await assert.rejects(fixture.images.pull(name('policed'), { namespace: 'strict' }), {
      message: `SignatureValidationFailed: unable to pull image: Source image rejected: Running image docker://${name('policed:latest')} is rejected by policy.`,
      kind: 'Unknown',
    });
    assert.equal(asked('/policed/'), before);
    await fixture.images.pull(name('policed'), { namespace: 'lax' });
    await fixture.configure({ policyFiles: [join(fixture.dir, 'missing.json')] });
    assert.equal(
      await refusal(name('policed')),
      `no policy.json file found at any of the following: "${join(fixture.dir, 'missing.json')}"`,
    );
    await fixture.configure({ policyFiles: [join(fixture.dir, 'policy.json')] });
  });

  it('[I33, D127] what another namespace may not use', async () => {
    const image = name('app:1.0');
    fixture.write('policies/strict.json', '{"default":[{"type":"reject"}]}');
    const { imageId } = await fixture.images.pull(image);
    await fixture.images.verifyUse(image, 'lax', imageId);
    await fixture.images.verifyUse('', 'lax', imageId);
    const refused = `Running image docker://${image} is rejected by policy.`;
    await assert.rejects(fixture.images.verifyUse(image, 'strict', imageId), {
      message: `checking signature of "${image}": verifying signatures: SignatureValidationFailed: ${refused}`,
    });
    await assert.rejects(fixture.images.verifyUse('', 'strict', imageId), {
      message: 'user specified image not specified, cannot verify image signature',
    });
    await assert.rejects(
      fixture.images.verifyUse('A', 'strict', imageId),
      /unable to get userSpecifiedImageRef from user specified image "A": /,
    );
  });

  it('[I88] anything over another transport', async () => {
    await fixture.configure({ defaultTransport: '' });
    assert.equal(await refusal(name('app:1.0')), 'DefaultTransport is not set');
    await fixture.configure({ defaultTransport: 'docker://' });
  });

  it('[I9] what is no reference', async () => {
    assert.equal(await refusal('docker.io/Upper'), 'cannot parse input: "docker.io/Upper": repository name must be lowercase');
  });

  it('[I17] from a blocked registry', async () => {
    const conf = `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`;
    await fixture.configure({}, `${conf}[[registry]]\nprefix = "${registry.host}/app"\nlocation = "x.invalid/app"\nblocked = true\n`);
    const where = `${join(fixture.dir, 'registries.conf')} or ${join(fixture.dir, 'registries.conf.d')}`;
    assert.match(await refusal(name('app:1.0')), new RegExp(`registry ${registry.host}/app is blocked in ${where}`));
    await fixture.configure({}, conf);
  });
});

describe(
  'images that skopeo made',
  { skip: [unpackedTool('usr/bin/skopeo'), '/usr/bin/skopeo'].some(existsSync) ? false : 'skopeo is not installed' },
  () => {
    for (const [kind, ...options] of [
      ['oci', '--format', 'oci'],
      ['v2s2', '--format', 'v2s2'],
      ['zstd', '--format', 'oci', '--dest-compress-format', 'zstd'],
    ] as const) {
      it(`[I43] are pulled: ${kind}`, async () => {
        storage.putImage('source', 'latest', { layers });
        const copy = [
          'copy',
          '--policy',
          join(fixture.dir, 'policy.json'),
          '--src-tls-verify=false',
          '--dest-tls-verify=false',
          ...options,
        ];
        const target = name(`skopeo-${kind}`);
        await runOk(['skopeo', ...copy, `docker://${name('source')}`, `docker://${target}`], {
          timeoutMs: 60_000,
          env: { PATH: toolPath, HOME: fixture.dir },
        });
        const { imageId } = await fixture.images.pull(target);
        assert.equal((await fixture.images.find(imageId))?.config.diffIds.length, 2);
        assert.equal(fixture.layers().length, 2);
      });
    }
  },
);

describe('images of the store', () => {
  it('[I8, I71] are found by id, prefix, name, digest and short name', async () => {
    const manifest = storage.putImage('found', 'v1', { layers });
    const id = await pull('found:v1');
    await fixture.configure(
      {},
      `unqualified-search-registries = ["${registry.host}"]\n[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`,
    );
    for (const text of [id, id.slice(0, 3), name('found:v1'), 'found:v1', `${name('found')}@${manifest.digest}`]) {
      assert.equal((await fixture.images.find(text))?.id, id, text);
    }
    for (const text of ['found:v2', 'f'.repeat(64), 'abcdef']) assert.equal(await fixture.images.find(text), undefined, text);
    const resolved: readonly ImageReference[] = await fixture.images.resolve('found');
    assert.deepEqual(
      resolved.map(({ domain, path, tag }) => `${domain}/${path}:${tag}`),
      [name('found:latest')],
    );
  });

  it('[I74, I72] lose a name, or go with their last one', async () => {
    for (const tag of ['a', 'b']) storage.putImage('named', tag, { layers });
    const id = await pull('named:a');
    await pull('named:b');
    await fixture.images.remove(name('named:a'));
    assert.deepEqual(fixture.records()[0]?.names, [name('named:b')]);
    await fixture.images.remove(name('named:unknown'));
    assert.equal(fixture.records().length, 1);
    await fixture.images.remove(name('named:b'));
    assert.deepEqual([fixture.records(), fixture.layers()], [[], []]);
    await fixture.images.remove(id);
    await fixture.images.remove(name('named:b'));
    await pull('named:a');
    await pull('named:b');
    await fixture.images.remove(id.slice(0, 12));
    assert.deepEqual(fixture.records(), []);
  });

  it('[I75] stay while a container uses them', async () => {
    storage.putImage('used', 'latest', { layers });
    const imageId = await pull('used');
    const container = await fixture.store.createContainer({ names: ['one'], imageId, metadata: '{}', layerName: 'one-layer' });
    const inUse = `image used by ${container.id}: image is in use by a container`;
    await assert.rejects(fixture.images.remove(imageId), { message: `delete image: ${inUse}` });
    await assert.rejects(fixture.images.remove(name('used')), { message: inUse });
    await fixture.store.deleteContainer(container.id);
  });

  it('[I81] are pinned by pattern or as the pause image', async () => {
    storage.putImage('pause', '3', { layers });
    const id = await pull('pause:3');
    const pinned = async (settings: object) => {
      await fixture.configure(settings);
      return (await fixture.images.find(id))?.pinned;
    };
    assert.equal(await pinned({ pauseImage: 'registry.k8s.io/pause:3.10.1' }), false);
    assert.equal(await pinned({ pauseImage: name('pause:3') }), true);
    assert.equal(await pinned({ pauseImage: '', pinnedImages: ['*PAUSE*'] }), true);
    await pinned({ pinnedImages: [] });
  });

  it('[I64, I79] are listed and measured, before and after', async () => {
    const records = join(fixture.dir, 'graph/overlay-images');
    /** What is told, and what a walk finds at the same moment. */
    const exact = async () => {
      const { images } = await fixture.images.fsInfo();
      const files = readdirSync(records, { recursive: true, encoding: 'utf8' }).map((path) => lstatSync(join(records, path)));
      const bytes = files.reduce((sum, file) => sum + (file.isDirectory() ? 0 : file.size), 0);
      assert.deepEqual([images.mountpoint, images.usedBytes, images.inodesUsed], [records, BigInt(bytes), BigInt(files.length + 1)]);
      return images;
    };
    const empty = await exact();
    storage.putImage('measured', 'latest', { layers });
    const id = await pull('measured');
    const full = await exact();
    assert.ok(full.usedBytes > empty.usedBytes && full.inodesUsed >= empty.inodesUsed + 4n);
    assert.ok(full.timestampNs >= empty.timestampNs);
    await fixture.store.setImageNames(id, [...((await fixture.images.find(id))?.names ?? []), 'example.com/a/second/name:1']);
    assert.ok((await exact()).usedBytes > full.usedBytes);
    assert.deepEqual(
      (await fixture.images.list()).map((image) => image.id),
      [id],
    );
  });
});

describe('the images of the harness', () => {
  it('are pulled as any other: busybox, and a pause program that ends at SIGTERM', async () => {
    const shared = await startRegistry({ images: ['busybox', 'pause'] });
    await fixture.configure({}, `[[registry]]\nlocation = "${shared.host}"\ninsecure = true\n`);
    const { imageId } = await fixture.images.pull(`${shared.host}/pause`);
    assert.deepEqual((await fixture.images.find(imageId))?.config.entrypoint, ['/pause']);
    assert.equal(await imageStorage(['pause']), await imageStorage(['busybox']));
    await shared.stop();
    await fixture.configure({}, `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`);
  });
});
