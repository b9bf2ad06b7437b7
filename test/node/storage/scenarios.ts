// scenarios.ts NAME [ARGUMENT]: one scenario with the store of the machine it runs on; asserts, and exits 0 or not.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { mount, MS, readMountsSync } from '../../../src/linux/index.ts';
import { mountByDescriptors } from '../../../src/storage/driver/perform.ts';
import { planMount } from '../../../src/storage/mount-plan.ts';
import { posixLocker } from '../../harness/posix-lock.ts';
import { checkStore } from './check.ts';
import { G, logged, makeContainer, makeImage, openStore, R, upon } from './fixture.ts';

const mode = (path: string) => (statSync(path).mode & 0o7777).toString(8);
const overlays = () => readMountsSync().filter((entry) => entry.type === 'overlay' && entry.mountPoint.startsWith(`${G}/overlay/`));
const mountpoints = () => JSON.parse(readFileSync(join(R, 'overlay-layers/mountpoints.json'), 'utf8')) as { count: number; path: string }[];

async function lifecycle(): Promise<void> {
  const store = await openStore();
  const image = await makeImage(store, 'example.com/a:1', 2);
  checkStore(true);
  assert.equal(await store.imageSize(image.id), 2048n + [...image.bigDataSizes.values()].reduce((a, b) => a + b));
  const container = await makeContainer(store, image, 'k8s_c_pod_ns_uid_0');
  const layer = join(G, 'overlay', container.layer);
  assert.deepEqual(
    ['', 'diff', 'work', 'merged', 'link', 'lower'].map((name) => mode(join(layer, name))),
    ['700', '555', '700', '700', '644', '644'],
  );
  for (const path of [store.containerDirectory(container.id), store.containerRunDirectory(container.id)]) assert.equal(mode(path), '700');
  for (const file of ['overlay-layers/volatile-layers.json', 'overlay-containers/volatile-containers.json', 'overlay-images/images.json'])
    assert.equal(mode(join(G, file)), '600');
  assert.ok(!existsSync(join(G, 'overlay-containers/containers.json')));

  const merged = await store.mountContainer(container.id);
  assert.equal(merged, join(layer, 'merged'));
  assert.equal(readFileSync(join(merged, 'etc/hello'), 'utf8'), 'example.com/a:1');
  assert.equal(readFileSync(join(merged, 'layer-0'), 'utf8'), '0');
  writeFileSync(join(merged, 'written'), 'x');
  const [found] = overlays();
  assert.equal(found?.mountPoint, merged);
  assert.match(found.superOptions, new RegExp(`upperdir=${layer}/diff,workdir=${layer}/work,.*volatile`));
  assert.deepEqual(mountpoints(), [{ id: container.layer, path: merged, count: 1 }]);
  await assert.rejects(store.deleteImage(image.id), { kind: 'FailedPrecondition', code: 'IMAGE_IN_USE' });
  await store.mountContainer(container.id);
  assert.equal(overlays().length, 1);
  await store.unmountContainer(container.id);
  assert.equal(overlays().length, 1, 'another user is left');
  await store.unmountContainer(container.id, true);
  assert.deepEqual([overlays(), mountpoints(), readdirSync(merged)], [[], [], []]);
  assert.ok(existsSync(join(layer, 'work/work/incompat/volatile')));
  await store.mountContainer(container.id);
  assert.equal(readFileSync(join(merged, 'written'), 'utf8'), 'x', 'a volatile layer mounts again');

  mkdirSync(join(store.containerRunDirectory(container.id), 'shm'));
  mkdirSync('/run/precious');
  writeFileSync('/run/precious/file', '');
  mount('/run/precious', join(store.containerRunDirectory(container.id), 'shm'), 'none', MS.BIND);
  await store.deleteContainer(container.id);
  await store.deleteContainer(container.id);
  await store.unmountContainer(container.id, true);
  await store.settled();
  assert.deepEqual(readdirSync('/run/precious'), ['file'], 'what was mounted below is not deleted');
  await store.deleteImage(image.id);
  await assert.rejects(store.deleteImage(image.id), { kind: 'NotFound' });
  await store.close();
  const left = checkStore();
  assert.deepEqual([left.layers.size, left.images.size, left.containers.size, overlays().length], [0, 0, 0, 0]);
  for (const lock of ['layers', 'images', 'containers']) assert.equal(statSync(join(G, `overlay-${lock}/${lock}.lock`)).size, 64);
}

async function images(): Promise<void> {
  const [one, two] = [await openStore(), await openStore()];
  const a = await makeImage(one, 'example.com/a:1');
  const b = await makeImage(two, 'example.com/b:1', 2);
  assert.deepEqual(
    (await one.images()).map((image) => image.id),
    [a.id, b.id],
  );
  assert.equal(await one.images(), await one.images(), 'nothing is made anew while nothing changes');
  for (const what of [b.id, b.id.slice(0, 12), 'example.com/b:1', b.digest ?? '']) assert.equal((await one.image(what))?.id, b.id, what);
  assert.equal(await one.image('example.com/b'), undefined);
  assert.equal(await one.image(''), undefined);
  await two.setImageNames(b.id, ['example.com/c:1', 'example.com/a:1']);
  assert.deepEqual((await one.image(a.id))?.names, [], 'a name has one owner');
  assert.equal((await one.image('example.com/a:1'))?.id, b.id);
  const again = await makeImage(one, 'example.com/a:1');
  assert.equal(again.id, a.id);
  assert.deepEqual([again.names, again.namesHistory], [['example.com/a:1'], ['example.com/a:1']]);
  assert.deepEqual((await two.image(b.id))?.namesHistory, ['example.com/c:1', 'example.com/a:1', 'example.com/b:1']);
  assert.equal((await two.imageBigData(b.id, 'manifest')).toString(), '{"schemaVersion":2,"name":"example.com/b:1"}');
  await assert.rejects(two.imageBigData(b.id, 'nothing'), { kind: 'NotFound' });
  await assert.rejects(one.createImage({ ...b, layer: a.layer, digest: a.digest ?? b.digest ?? never(), bigData: [] }), {
    kind: 'AlreadyExists',
  });
  const path = await one.mountImage(b.id);
  assert.equal(await two.mountImage(b.id), path);
  assert.throws(() => writeFileSync(join(path, 'x'), ''), { code: 'EROFS' });
  assert.deepEqual(
    ['ro', 'nosuid', 'nodev', 'noexec'].filter((word) => !overlays()[0]?.options.includes(word)),
    [],
  );
  assert.equal(mountpoints()[0]?.count, 2);
  await assert.rejects(one.deleteImage(b.id), { kind: 'FailedPrecondition', code: 'IMAGE_IN_USE' });
  await one.unmountImage(b.id);
  await one.unmountImage(b.id);
  assert.equal(overlays().length, 0);
  await one.deleteImage(a.id);
  // What another image stands upon stays when the image of its own goes.
  const above = await upon(one, b, 'example.com/above:1');
  await two.deleteImage(b.id);
  assert.deepEqual((await one.layerChain(above.layer)).length, 3);
  assert.equal(checkStore(true).layers.size, 3);
  await Promise.all([one.close(), two.close()]);

  const store = await openStore(G, { mountOptions: ['nodev', 'metacopy=on'] });
  assert.ok(existsSync(join(R, 'overlay/metacopy(nodev,metacopy=on)-true')));
  const container = await makeContainer(store, above, 'k8s_metacopy');
  writeFileSync(join(store.layerDiffDirectory(above.layer ?? never()), 'large'), randomBytes(1_000_000));
  const merged = await store.mountContainer(container.id);
  assert.match(overlays()[0]?.superOptions ?? '', /,metacopy=on/);
  chmodSync(join(merged, 'large'), 0o600);
  const upper = statSync(join(store.layerDiffDirectory(container.layer), 'large'));
  assert.ok(upper.size === 1_000_000 && upper.blocks * 512 < 10_000, 'only its mode was copied');
  await store.deleteContainer(container.id);
  await store.deleteImage(above.id);
  await store.close();
  checkStore();
}

function never(): never {
  throw new Error('no digest');
}

/** More lowers than a page of mount data can name. */
async function deep(): Promise<void> {
  const store = await openStore();
  const image = await makeImage(store, 'example.com/deep:1', 90);
  const container = await makeContainer(store, image, 'deep');
  const merged = await store.mountContainer(container.id);
  assert.equal(readdirSync(merged).length, 91);
  writeFileSync(join(merged, 'layer-0'), 'changed');
  await store.unmountContainer(container.id);

  // As on a kernel that takes no lower directory by itself.
  const layer = join(G, 'overlay', container.layer);
  rmSync(join(layer, 'work/work/incompat/volatile'), { recursive: true });
  const lowers = readFileSync(join(layer, 'lower'), 'utf8')
    .split(':')
    .map((lower) => join(G, 'overlay', lower));
  const plan = {
    layerDirectory: layer,
    target: join(layer, 'merged'),
    lowers,
    defaultOptions: ['nodev'],
    options: [],
    volatile: false,
    metacopySupported: false,
    label: '',
  };
  mountByDescriptors(planMount(plan));
  assert.equal(readFileSync(join(merged, 'layer-0'), 'utf8'), 'changed');
  assert.ok(overlays()[0]?.options.includes('nodev'));
  await store.deleteContainer(container.id);
  await store.deleteImage(image.id);
  await store.close();
  checkStore();
}

async function names(): Promise<void> {
  const store = await openStore();
  const image = await makeImage(store, 'example.com/a:1');
  const first = await makeContainer(store, image, 'name');
  const refused = { kind: 'AlreadyExists', code: 'NAME_IN_USE' };
  await assert.rejects(makeContainer(store, image, 'name'), refused);
  const same = { id: first.id, names: ['other'], imageId: image.id, metadata: '{}', layerName: 'other-layer' };
  await assert.rejects(store.createContainer(same), { kind: 'AlreadyExists' });
  const race = await Promise.allSettled([1, 2, 3].map(() => makeContainer(store, image, 'raced')));
  assert.deepEqual(race.map((outcome) => outcome.status).toSorted(), ['fulfilled', 'rejected', 'rejected']);
  await assert.rejects(store.createContainer({ ...same, imageId: first.id }), { kind: 'AlreadyExists' });
  await store.settled();
  assert.equal(checkStore(true).containers.size, 2);
  await store.setContainerMetadata(first.id, '{"a":"<>"}');
  assert.equal((await store.container('name'))?.metadata, '{"a":"<>"}');
  await store.close();
  checkStore();
}

/** What Go tools of today and tomorrow write and we do not know comes through our changes. */
async function foreign(): Promise<void> {
  const store = await openStore();
  const image = await makeImage(store, 'example.com/a:1');
  const file = join(G, 'overlay-images/images.json');
  const lock = join(G, 'overlay-images/images.lock');
  writeFileSync(file, readFileSync(file, 'utf8').replace('"metadata"', '"future":{"n":12345678901234567890},"metadata"'));
  writeFileSync(lock, Buffer.alloc(64, 7));
  await store.setImageNames(image.id, ['example.com/b:1']);
  assert.match(readFileSync(file, 'utf8'), /"future":\{"n":12345678901234567890\}/);
  assert.ok(!readFileSync(lock).equals(Buffer.alloc(64, 7)), 'others are told');

  const layers = join(G, 'overlay-layers/layers.json');
  const [record] = JSON.parse(readFileSync(layers, 'utf8')) as { id: string }[];
  const broken = { ...record, id: 'b'.repeat(64), flags: { incomplete: true } };
  mkdirSync(join(G, 'overlay', broken.id, 'diff'), { recursive: true });
  writeFileSync(layers, JSON.stringify([record, broken]));
  writeFileSync(join(G, 'overlay-layers/layers.lock'), Buffer.alloc(64, 8));
  await store.setImageNames(image.id, ['example.com/c:1']);
  assert.match(logged.join(''), /Found incomplete layer \\"b{64}\\", deleting it/);
  await store.settled();
  assert.ok(!existsSync(join(G, 'overlay', broken.id)));

  const container = await makeContainer(store, image, 'c');
  for (const name of readdirSync(join(G, 'overlay/l'))) rmSync(join(G, 'overlay/l', name));
  await store.mountContainer(container.id);
  assert.match(logged.join(''), /Going through storage to recreate the missing symlinks/);
  await store.deleteContainer(container.id);

  mkdirSync(join(G, 'overlay', 'e'.repeat(64), 'diff'), { recursive: true });
  mkdirSync(join(G, 'overlay-containers', 'e'.repeat(64), 'userdata'), { recursive: true });
  mkdirSync(join(G, 'overlay-images', 'e'.repeat(64)), { recursive: true });
  symlinkSync('../nowhere/diff', join(G, 'overlay/l', 'A'.repeat(26)));
  await store.settled();
  await store.collectGarbage();
  await store.close();
  assert.equal(checkStore().images.size, 1);
}

/** Records that were lost, or that stand upon themselves, and what lies where layers are made: nothing hangs, nothing that is in use goes. */
async function lost(): Promise<void> {
  mkdirSync(join(G, 'overlay/staging/stale/dir'), { recursive: true });
  symlinkSync('/nowhere', join(G, 'overlay/staging/dangling'));
  const store = await openStore();
  assert.ok(!existsSync(join(G, 'overlay/staging/stale')));
  const image = await makeImage(store, 'example.com/a:1', 2);
  const running = await makeContainer(store, image, 'k8s_running');
  const merged = await store.mountContainer(running.id);
  const unused = await makeImage(store, 'example.com/unused:1');
  const directory = (layer: string | undefined) => join(G, 'overlay', layer ?? '');
  const inode = statSync(directory(image.layer)).ino;

  const volatile = ['layers', 'containers'].map((kind) => join(G, `overlay-${kind}/volatile-${kind}.json`));
  const before = volatile.map((file) => readFileSync(file));
  for (const file of volatile) writeFileSync(file, '[{');
  await assert.rejects(openStore(), { code: 'CORRUPT_RECORDS' }, 'nobody forgets what runs');
  for (const [index, file] of volatile.entries()) writeFileSync(file, before[index] ?? '');

  const layers = join(G, 'overlay-layers/layers.json');
  const rows = JSON.parse(readFileSync(layers, 'utf8')) as { id: string; parent?: string }[];
  writeFileSync(layers, JSON.stringify(rows.map((row) => (row.id === image.layer ? row : { ...row, parent: image.layer }))));
  assert.equal((await store.imageSize(image.id)) / 1024n, 2n, 'each layer counts once');
  assert.equal((await store.layerChain(image.layer)).length, 2);
  assert.ok((await store.health.check({ digests: true, contents: true, maxOrphanAgeS: 0 })).length > 0);

  writeFileSync(layers, '');
  await store.collectGarbage();
  await store.settled();
  assert.ok(!existsSync(directory(unused.layer)));
  assert.match(logged.join(''), new RegExp(`No record names layer ${image.layer}, but mounted containers stand upon it`));
  assert.equal((await makeImage(store, 'example.com/a:1', 2)).layer, image.layer);
  assert.deepEqual([readFileSync(join(merged, 'layer-0'), 'utf8'), statSync(directory(image.layer)).ino], ['0', inode]);
  await store.deleteContainer(running.id);
  await store.deleteImage(unused.id);
  await store.settled();

  // Layers of pulls that were given up: gone when they are old enough, but not what is needed, named, mounted or young.
  const [given, up] = [await makeImage(store, 'example.com/given-up:1', 2), await makeImage(store, 'example.com/young:1')];
  const images = join(G, 'overlay-images/images.json');
  writeFileSync(images, JSON.stringify((JSON.parse(readFileSync(images, 'utf8')) as { id: string }[]).filter(({ id }) => id === image.id)));
  writeFileSync(join(G, 'overlay-images/images.lock'), Buffer.alloc(64, 9));
  const aged = (JSON.parse(readFileSync(layers, 'utf8')) as { id: string }[]).map((row) =>
    row.id === up.layer ? row : { ...row, created: '2026-01-02T03:04:05Z' },
  );
  writeFileSync(layers, JSON.stringify(aged));
  assert.equal(await store.collectOrphans(3600), 2);
  assert.deepEqual(
    [given.layer, up.layer, image.layer].map((layer) => existsSync(directory(layer))),
    [false, true, true],
  );
  assert.equal(await store.collectOrphans(3600), 0);
  await store.deleteImage(image.id);
  assert.equal(await store.collectOrphans(-1), 1);
  await store.collectGarbage();
  await store.close();

  // What a power cut made of files that are not flushed: nothing runs that they could tell of.
  for (const file of [...volatile, join(R, 'overlay-layers/mountpoints.json')]) writeFileSync(file, Buffer.alloc(300));
  await assert.rejects(openStore(G, { isDaemon: false }), { code: 'CORRUPT_RECORDS' });
  const next = await openStore();
  await makeContainer(next, await makeImage(next, 'example.com/a:1'), 'k8s_next');
  assert.equal(checkStore(true).containers.size, 1);
  assert.equal(logged.filter((line) => /cannot be read: .* set aside as .*\.broken/.test(line)).length, 3);
  await next.close();
  rmSync(join(G, 'overlay/staging/dangling'));
  assert.equal(checkStore().layers.size, 2);
}

async function idmap(): Promise<void> {
  const store = await openStore();
  const image = await makeImage(store, 'example.com/a:1', 2);
  const ranges = [{ containerId: 0, hostId: 100_000, size: 65_536 }];
  const wanted = { names: ['c'], imageId: image.id, metadata: '{}', layerName: 'c-layer', idMap: { uids: ranges, gids: ranges } };
  const container = await store.createContainer(wanted);
  const holder = spawn('unshare', ['--user', 'sh', '-c', 'echo ready; read x'], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${holder.pid}/${map}`, '0 100000 65536');
  await assert.rejects(store.mountContainer(container.id), { kind: 'InvalidArgument' });
  const merged = await store.mountContainer(container.id, { userNamespace: `/proc/${holder.pid}/ns/user` });
  assert.deepEqual([statSync(merged).uid, statSync(join(merged, 'etc/hello')).uid], [100_000, 100_000]);
  assert.equal(statSync(join(G, 'overlay', image.layer ?? '', 'diff/etc/hello')).uid, 0, 'the image stays as it is');
  assert.equal(readMountsSync().filter((entry) => entry.mountPoint.includes('/mapped/')).length, 0);
  holder.stdin.end();
  await store.deleteContainer(container.id);
  await store.deleteImage(image.id);
  await store.close();
  checkStore();
}

/** Makes, uses and removes containers and images until it is told to stop or is killed. */
async function hammer(tag = 'x', rounds = '1000000'): Promise<void> {
  // There is one daemon on a store: others make each layer durable by themselves, and leave its list of those that are not alone.
  const store = await openStore(G, { isDaemon: tag !== 'b' });
  const image = await makeImage(store, `example.com/shared:1`, 2);
  process.stdout.write('going\n');
  const lane = async (number: number) => {
    for (let round = 0; round < Number(rounds); round++) {
      const container = await makeContainer(store, image, `k8s_${tag}_${number}_${round}`);
      const merged = await store.mountContainer(container.id);
      assert.equal(readFileSync(join(merged, 'etc/hello'), 'utf8'), 'example.com/shared:1');
      if (round % 3 === 0) await makeImage(store, `example.com/${tag}-${number}:1`, 2);
      await store.setContainerMetadata(container.id, `{"round":${round}}`);
      if (round % 3 === 1) await store.deleteImage((await store.image(`example.com/${tag}-${number}:1`))?.id ?? never());
      await store.unmountContainer(container.id, true);
      await store.deleteContainer(container.id);
    }
  };
  await Promise.all([1, 2, 3].map(lane));
  await store.close();
}

/** After a crash: opens, collects, checks, removes everything. */
async function recover(): Promise<void> {
  checkStore(true);
  const store = await openStore();
  await store.collectGarbage();
  await store.settled();
  const known = checkStore(true);
  for (const container of await store.containers()) await store.deleteContainer(container.id);
  for (const image of await store.images()) if (!image.names.includes('example.com/shared:1')) await store.deleteImage(image.id);
  assert.equal(overlays().length, 0);
  await store.close();
  const left = checkStore();
  assert.equal(left.containers.size, 0);
  assert.ok(known.layers.size >= left.layers.size);
}

/** A disk without a free byte: nothing half made, and removal works. */
async function full(): Promise<void> {
  mkdirSync('/run/small');
  mount('tmpfs', '/run/small', 'tmpfs', 0, 'size=8m');
  const store = await openStore('/run/small/storage');
  const image = await makeImage(store, 'example.com/a:1');
  const container = await makeContainer(store, image, 'c');
  try {
    writeFileSync('/run/small/filler', Buffer.alloc(16 * 1024 * 1024));
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  }
  await assert.rejects(makeContainer(store, image, 'd'), { code: 'ENOSPC' });
  assert.deepEqual(
    (await store.containers()).map((record) => record.id),
    [container.id],
  );
  await store.deleteContainer(container.id);
  await store.deleteImage(image.id);
  assert.deepEqual([(await store.containers()).length, (await store.images()).length], [0, 0]);
  await store.close();
}

/** Holds layers.lock with a POSIX lock for a second; the store waits, its lists do not. */
async function contended(): Promise<void> {
  const store = await openStore();
  const image = await makeImage(store, 'example.com/a:1');
  const [program, ...args] = posixLocker(join(G, 'overlay-layers/layers.lock'));
  const holder = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  let made = false;
  const making = makeContainer(store, image, 'c').then(() => (made = true));
  for (let n = 0; n < 20; n++) {
    await delay(10);
    assert.equal((await store.images()).length, 1);
    assert.equal((await store.containers()).length, 0);
  }
  assert.equal(made, false);
  holder.stdin.end();
  await making;
  await store.close();
}

const scenarios = { lifecycle, images, deep, names, foreign, lost, idmap, hammer, recover, full, contended };
const [name = '', ...args] = process.argv.slice(2);
if (!Object.hasOwn(scenarios, name)) throw new Error(`no scenario ${name}`);
await scenarios[name as keyof typeof scenarios](...args);
