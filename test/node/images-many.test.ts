import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf, textOf } from '../../src/errors/index.ts';
import type { PullOptions } from '../../src/images/index.ts';
import { ImageFixture } from '../harness/image-fixture.ts';
import { layerOf } from '../harness/images.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { type Descriptor, OCI } from '../harness/registry-storage.ts';
import { type Interception, StandInRegistry, refuse } from '../harness/stand-in-registry.ts';

inPrivateNetwork(import.meta.filename);

const fixture = new ImageFixture();
const registry = new StandInRegistry(join(fixture.dir, 'registry'));
const other = new StandInRegistry(join(fixture.dir, 'other'));
const base: { tar: Buffer }[] = [];

before(async () => {
  await fixture.start();
  await Promise.all([registry.start(), other.start()]);
  for (const name of ['low', 'high']) base.push({ tar: await layerOf({ [name]: name.repeat(1000) }) });
  for (const name of ['one', 'two'])
    registry.storage.putImage(name, 'latest', { layers: [...base, { tar: await layerOf({ [name]: name }) }] });
  const conf = [registry, other].map(({ host }) => `[[registry]]\nlocation = "${host}"\ninsecure = true\n`);
  await fixture.configure({}, conf.join(''));
});

afterEach(async () => {
  await fixture.nothingStaged();
  await fixture.clear();
  registry.forget();
  other.forget();
  fixture.renew();
});

after(async () => {
  await Promise.all([registry.stop(), other.stop()]);
  await fixture.end();
});

const pull = (name: string, options: PullOptions = {}) => fixture.images.pull(`${registry.host}/${name}`, options);
const blobsAsked = () => registry.asked('/blobs/').map((path) => path.split('/').at(-1));

describe('many pulls at once', () => {
  it('[I4, p18] of the same image are one, also when the first caller goes', async () => {
    const held = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    registry.intercept = async ({ path }) => {
      if (path.includes('/blobs/')) {
        asked.resolve();
        await held.promise;
      }
      return false;
    };
    const leaving = new AbortController();
    const first = assert.rejects(pull('one', { signal: leaving.signal }), { name: 'AbortError' });
    const others = Promise.all([pull('one'), pull('one'), pull('one')]);
    await asked.promise;
    leaving.abort(new DOMException('context canceled', 'AbortError'));
    await first;
    held.resolve();
    assert.equal(new Set((await others).map(({ imageId }) => imageId)).size, 1);
    assert.equal(registry.asked('/manifests/').length, 1);
    assert.equal(new Set(blobsAsked()).size, blobsAsked().length);
  });

  it('[I4] with other credentials or namespaces are pulls of their own', async () => {
    const auth = { username: 'u', password: 'p', auth: '', serverAddress: '', identityToken: '', registryToken: '' };
    await Promise.all([pull('one'), pull('one', { namespace: 'team' }), pull('one', { auth }), pull('one', { cgroupParent: '/x' })]);
    assert.equal(registry.asked('/manifests/').length, 4);
    const { length } = blobsAsked().filter((digest, index, all) => all.indexOf(digest) === index);
    assert.equal(length, 4); // Three layers and the config: layers are shared by pulls of any kind.
  });

  it('[p18] of different images fetch a layer that they share once', async () => {
    await Promise.all([pull('one'), pull('two')]);
    assert.equal(new Set(blobsAsked()).size, blobsAsked().length);
    assert.equal(fixture.records().length, 2);
    assert.equal(fixture.layers().length, 4);
  });

  it('[p18] go on with a shared layer when the pull that began it is stopped', async () => {
    const held = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    registry.intercept = async ({ path }) => {
      if (path.includes('/one/blobs/') && registry.asked('/one/blobs/').length > 1) {
        asked.resolve();
        await held.promise;
      }
      return false;
    };
    const leaving = new AbortController();
    const stopped = assert.rejects(pull('one', { signal: leaving.signal }), { name: 'AbortError' });
    await asked.promise;
    const joined = Promise.withResolvers<void>();
    const second = pull('two', { onProgress: ({ step }) => step === 'committed' && joined.resolve() });
    await delay(100); // Until the second pull has found the layers on their way: nobody tells.
    leaving.abort(new DOMException('context canceled', 'AbortError'));
    held.resolve();
    await stopped;
    await second;
    assert.deepEqual(
      fixture.records().map(({ names }) => names),
      [[`${registry.host}/two:latest`]],
    );
  });

  it('[I41] fetch layers side by side, no more than are allowed, and commit them in order', async () => {
    const many = await Promise.all(Array.from({ length: 12 }, (_, index) => layerOf({ [`file-${index}`]: String(index) })));
    registry.storage.putImage('many', 'latest', { layers: many.map((tar) => ({ tar })) });
    let running = 0;
    let most = 0;
    registry.intercept = async ({ path }) => {
      if (!path.includes('/blobs/')) return false;
      most = Math.max(most, ++running);
      await delay(40);
      running--;
      return false;
    };
    const committed: (string | undefined)[] = [];
    const { imageId } = await pull('many', { onProgress: ({ step, digest }) => step === 'committed' && committed.push(digest) });
    assert.ok(most >= 3 && most <= 6, String(most));
    assert.equal(committed.length, 12);
    assert.equal((await fixture.images.find(imageId))?.topLayer, fixture.layers().at(-1));
  });

  it('fail together, and the next one starts anew', async () => {
    registry.intercept = ({ path }, response) => {
      if (!path.includes('/blobs/')) return false;
      refuse(response, 'NAME_UNKNOWN');
      return true;
    };
    const results = await Promise.allSettled([pull('one'), pull('one')]);
    for (const result of results) {
      assert.ok(result.status === 'rejected');
      assert.match(textOf(result.reason), /fetching blob: name unknown/);
      assert.equal(codeOf(result.reason), 'NAME_UNKNOWN');
    }
    registry.intercept = () => false;
    await pull('one');
  });

  it('[p18] of a registry that is silent keep none from another waiting', async () => {
    const many = await Promise.all(Array.from({ length: 8 }, (_, index) => layerOf({ [`file-${index}`]: String(index) })));
    other.storage.putImage('slow', 'latest', { layers: many.map((tar) => ({ tar })) });
    let silent = 0;
    const allAreSilent = Promise.withResolvers<void>();
    other.intercept = ({ path }, response) => {
      if (!path.includes('/blobs/') || other.asked('/blobs/').length === 1) return false; // The config comes.
      response.writeHead(200).flushHeaders();
      if (++silent === 6) allAreSilent.resolve();
      return true;
    };
    const stop = new AbortController();
    const slow = assert.rejects(fixture.images.pull(`${other.host}/slow`, { signal: stop.signal }), { name: 'AbortError' });
    await allAreSilent.promise;
    await pull('one', { signal: AbortSignal.timeout(4000) });
    assert.equal(silent, 6, 'one pull has no more than its share, however slow it is');
    stop.abort(new DOMException('context canceled', 'AbortError'));
    await slow;
  });

  it('[p18] share nothing with a registry that makes something else of the same layer, and no failure of another pull', async () => {
    const [low] = base;
    assert.ok(low);
    registry.storage.putImage('base', 'latest', { layers: [low] });
    const lies = JSON.parse(other.storage.putImage('lies', 'latest', { layers: [low] }).bytes.toString('utf8')) as {
      layers: [Descriptor];
    };
    const layers = [other.storage.putBlob('lies', `${OCI.layer}+gzip`, Buffer.from('junk'))];
    other.storage.putManifest('lies', OCI.manifest, { ...lies, layers }, 'latest');
    registry.storage.putImage('denied', 'latest', { layers: [low] });
    const blobs = [`/lies/blobs/${layers[0]?.digest}`, `/denied/blobs/${lies.layers[0].digest}`];
    const [held, asked] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let waiting = 0;
    const holdLayer: Interception = async ({ path }, response) => {
      if (!blobs.some((blob) => path.endsWith(blob))) return false;
      if (++waiting === 2) asked.resolve();
      await held.promise;
      if (path.includes('/lies/')) return false;
      refuse(response, 'DENIED', 403);
      return true;
    };
    registry.intercept = other.intercept = holdLayer;
    const failing = [assert.rejects(pull('denied'), /denied/), assert.rejects(fixture.images.pull(`${other.host}/lies`), /writing blob/)];
    await asked.promise;
    const good = pull('base');
    await delay(100); // Until it has found the layer on its way: nobody tells.
    held.resolve();
    await Promise.all([...failing, good]);
    assert.equal(fixture.layers().length, 1);
  });

  it('survive that a layer they found is removed before they need it', async () => {
    registry.storage.putImage('lower', 'latest', { layers: base.slice(0, 1) });
    await pull('lower');
    let removed = false;
    registry.intercept = async ({ path }) => {
      // The config is there, the lower layer was found in the store, and now the upper ones are asked for.
      if (path.includes('/one/blobs/') && registry.asked('/one/blobs/').length > 1 && !removed) {
        removed = true;
        await fixture.images.remove(`${registry.host}/lower`);
      }
      return false;
    };
    await pull('one');
    assert.ok(removed);
    assert.match(fixture.logged, /A layer was removed while it was needed/);
    assert.equal(fixture.layers().length, 3);
  });
});
