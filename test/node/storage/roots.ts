// roots.ts NAME: one scenario with a store of several roots on the machine it runs on; asserts, and exits 0 or not.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync, readlinkSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { HexId } from '../../../src/ids/index.ts';
import { MS, mount, readMountsSync } from '../../../src/linux/index.ts';
import { type CheckOptions, type ImageRecord, type Store, diskUse } from '../../../src/storage/index.ts';
import { posixLocker } from '../../harness/posix-lock.ts';
import { treeLines } from '../../harness/trees.ts';
import { G, R, logged, makeContainer, makeImage, openStore, upon } from './fixture.ts';

/** Additional image stores, and what shows the first of them read-only. */
const A = '/var/lib/containers/extra';
const B = '/var/lib/containers/other';
const RO = '/var/lib/containers/read-only';
/** The image store. */
const X = '/var/lib/containers/images';
const EVERYTHING: CheckOptions = { digests: false, contents: false, maxOrphanAgeS: -1 };

const ids = (root: string, kind: 'layers' | 'images', file = `${kind}.json`) => {
  const path = join(root, `overlay-${kind}`, file);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { id: HexId }[]).map(({ id }) => id) : [];
};
const overlays = () => readMountsSync().filter((entry) => entry.type === 'overlay' && entry.mountPoint.endsWith('/merged'));

/** Another store on another root, with images, as a tool left it. */
async function filled(root: string, images: Readonly<Record<string, number>>): Promise<ImageRecord[]> {
  const store = await openStore(root);
  const made: ImageRecord[] = [];
  for (const [name, depth] of Object.entries(images)) made.push(await makeImage(store, name, depth));
  await store.close();
  return made;
}

async function additional(): Promise<void> {
  const [theirs, twice] = await filled(A, { 'example.com/theirs:1': 2, 'example.com/both:1': 1 });
  const [second] = await filled(B, { 'example.com/second:1': 1, 'example.com/both:1': 1 });
  assert.ok(theirs !== undefined && twice !== undefined && second !== undefined);
  mkdirSync(RO);
  mount(A, RO, 'none', MS.BIND);
  mount('', RO, 'none', MS.BIND | MS.REMOUNT | MS.RDONLY);
  const before = [A, B].map(treeLines);
  const store = await openStore(G, { additionalImageStores: [RO, B, G, B] });

  assert.deepEqual(
    (await store.images()).map(({ id }) => id),
    [theirs.id, twice.id, second.id],
    'each once',
  );
  for (const what of [theirs.id, theirs.id.slice(0, 12), 'example.com/theirs:1', theirs.digest ?? ''])
    assert.equal((await store.image(what))?.id, theirs.id, what);
  assert.equal((await store.imageBigData(theirs.id, 'manifest')).toString(), '{"schemaVersion":2,"name":"example.com/theirs:1"}');
  assert.ok((await store.imageSize(theirs.id)) > 2048n);
  assert.deepEqual([await store.layers(), await store.ownImages()], [[], []]);
  await assert.rejects(store.deleteImage(theirs.id), { kind: 'NotFound', code: 'FOREIGN_IMAGE' });

  // A pull of the same image commits the same layers: they are there.
  const again = await makeImage(store, 'example.com/theirs:1', 2);
  assert.deepEqual([again.names, await store.layers()], [['example.com/theirs:1'], []]);
  await store.deleteImage(again.id);
  assert.deepEqual((await store.image(theirs.id))?.names, ['example.com/theirs:1'], 'theirs shows again');

  const above = await upon(store, theirs, 'example.com/above:1');
  assert.deepEqual(ids(G, 'layers'), [above.layer], 'only its own layer');
  const container = await makeContainer(store, above, 'k8s_c_pod_ns_uid_0');
  const merged = await store.mountContainer(container.id);
  assert.deepEqual(
    ['more', 'layer-0', 'layer-1'].map((name) => readFileSync(join(merged, name), 'utf8')),
    ['example.com/above:1', '0', '1'],
  );
  writeFileSync(join(merged, 'layer-0'), 'changed');
  assert.equal(overlays()[0]?.superOptions.split(`${RO}/overlay/l/`).length, 3, 'two lowers are there');
  await assert.rejects(store.deleteImage(above.id), { code: 'IMAGE_IN_USE' });

  await imageVolumes(store, theirs);
  await mapped(store, theirs);
  await renamed(store, above, second);

  assert.deepEqual(await store.health.check(EVERYTHING), []);
  const use = await diskUse(store, () => false);
  assert.deepEqual([use.images.map(({ id }) => id), use.imageBytes, use.orphans], [[above.id], 1024n, []]);
  await store.collectGarbage();
  await store.settled();
  await store.unmountContainer(container.id, true);
  await store.deleteContainer(container.id);
  await store.deleteImage(above.id);
  await store.settled();
  assert.deepEqual([ids(G, 'layers'), ids(G, 'images')], [[], []]);
  await store.close();
  assert.deepEqual([A, B].map(treeLines), before);
}

/** An image volume's mount point is ours, below the run root, and counts its users. */
async function imageVolumes(store: Store, theirs: ImageRecord): Promise<void> {
  const before = overlays().length;
  const paths = [await store.mountImage(theirs.id), await store.mountImage(theirs.id)];
  assert.deepEqual(
    paths,
    Array.from({ length: 2 }, () => join(R, 'overlay', theirs.layer ?? '', 'merged')),
  );
  assert.equal(readFileSync(join(paths[0] ?? '', 'etc/hello'), 'utf8'), 'example.com/theirs:1');
  assert.throws(() => writeFileSync(join(paths[0] ?? '', 'x'), ''), { code: 'EROFS' });
  await store.unmountImage(theirs.id);
  assert.equal(overlays().length, before + 1);
  await store.unmountImage(theirs.id);
  assert.deepEqual([overlays().length, existsSync(join(R, 'overlay', theirs.layer ?? ''))], [before, false]);
}

/** A name that is given here belongs to what is here; the record that this needs is ours. */
async function renamed(store: Store, above: ImageRecord, second: ImageRecord): Promise<void> {
  await store.setImageNames(above.id, ['example.com/above:1', 'example.com/both:1']);
  assert.equal((await store.image('example.com/both:1'))?.id, above.id);
  assert.deepEqual(
    (await store.images()).filter(({ names }) => names.includes('example.com/both:1')).map(({ id }) => id),
    [above.id],
  );
  await store.setImageNames(second.id, ['example.com/renamed:1']);
  assert.equal((await store.image('example.com/renamed:1'))?.id, second.id);
  assert.equal(await store.image('example.com/second:1'), undefined);
  assert.equal((await store.imageBigData(second.id, 'manifest')).toString(), '{"schemaVersion":2,"name":"example.com/second:1"}');
  await store.deleteImage(second.id);
  assert.deepEqual((await store.image(second.id))?.names, ['example.com/second:1']);
}

/** Lowers of other roots are mapped as the own ones are. */
async function mapped(store: Store, image: ImageRecord): Promise<void> {
  const ranges = [{ containerId: 0, hostId: 100_000, size: 65_536 }];
  const wanted = { names: ['mapped'], imageId: image.id, metadata: '{}', layerName: 'mapped-layer', idMap: { uids: ranges, gids: ranges } };
  const container = await store.createContainer(wanted);
  const holder = spawn('unshare', ['--user', 'sh', '-c', 'echo ready; read x'], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${holder.pid}/${map}`, '0 100000 65536');
  const userNamespace = `/proc/${holder.pid}/ns/user`;
  const merged = await store.mountContainer(container.id, { userNamespace });
  assert.deepEqual([statSync(merged).uid, statSync(join(merged, 'etc/hello')).uid], [100_000, 100_000]);
  mkdirSync('/run/volume');
  await store.mountImage(image.id);
  await store.mountImageMapped(image.id, '/run/volume', userNamespace);
  assert.equal(statSync('/run/volume/etc/hello').uid, 100_000);
  execFileSync('umount', ['/run/volume']);
  await store.unmountImage(image.id);
  holder.stdin.end();
  await store.deleteContainer(container.id);
}

/** What is missing or broken is told by name; what breaks later leaves what was known. */
async function broken(): Promise<void> {
  const open = async (...stores: string[]) => await openStore(G, { additionalImageStores: stores });
  await assert.rejects(open(A), { message: `overlay: can't stat imageStore dir ${A}: ENOENT: no such file or directory, stat '${A}'` });
  await assert.rejects(open('relative'), { message: 'overlay: image path "relative" is not absolute.  Can not be relative' });
  writeFileSync('/run/file', '');
  await assert.rejects(open('/run/file'), { message: 'overlay: image path "/run/file" must be a directory' });
  mkdirSync(B);
  await (await open(B)).close();
  assert.ok(logged.some((line) => line.includes(`Additional image store ${B} holds no images`)));
  assert.deepEqual(readdirSync(B), [], 'nothing is made there');

  const [theirs] = await filled(A, { 'example.com/theirs:1': 1 });
  const list = join(A, 'overlay-images/images.json');
  const text = readFileSync(list, 'utf8');
  writeFileSync(list, '[{');
  await assert.rejects(open(A), (error: Error & { advice?: string }) => {
    assert.match(error.message, /^opening storage .*: records in .*extra\/overlay-images\/images\.json cannot be read/);
    assert.match(error.advice ?? '', /additional image store/);
    return true;
  });
  writeFileSync(list, text);
  const store = await open(A);
  for (const path of [list, join(A, 'overlay-layers/layers.json')]) writeFileSync(path, '[{');
  assert.equal((await store.image('example.com/theirs:1'))?.id, theirs?.id);
  assert.equal((await makeImage(store, 'example.com/ours:1')).names.length, 1);
  assert.equal(logged.filter((line) => line.includes(`Additional image store ${A} cannot be read`)).length, 2, logged.join('\n'));
  writeFileSync(list, text);
  // Its locks are held only while it is read: whoever mounted it can unmount it.
  assert.deepEqual(
    openFiles().filter((path) => path.startsWith(A)),
    [],
  );
  renameSync(A, `${A}.gone`);
  assert.deepEqual(
    (await store.images()).map(({ names }) => names[0]),
    ['example.com/ours:1'],
  );
  await store.close();
}

/** The paths of this process' open files. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return []; // The directory itself was open.
    }
  });
}

/** A store that is taken away leaves layers that stand upon nothing: they are named, and what is pulled again carries them. */
async function gone(): Promise<void> {
  const [theirs] = await filled(A, { 'example.com/theirs:1': 2 });
  assert.ok(theirs !== undefined);
  const before = await openStore(G, { additionalImageStores: [A] });
  const above = await upon(before, theirs, 'example.com/above:1');
  const old = await makeContainer(before, above, 'k8s_old_pod_ns_uid_0');
  await before.close();
  // As when it was not mounted at a boot.
  renameSync(A, `${A}.gone`);
  mkdirSync(A);
  const without = await openStore(G, { additionalImageStores: [A] });
  const waiting = await without.health.check(EVERYTHING);
  assert.deepEqual(
    new Set(waiting.map(({ kind, mayComeBack }) => `${kind} ${mayComeBack}`)),
    new Set(['layer true', 'image true', 'container true']),
  );
  await without.close();
  const store = await openStore();
  const findings = (await store.health.check({ ...EVERYTHING, maxOrphanAgeS: undefined })).map(({ kind, problem }) => `${kind} ${problem}`);
  assert.ok(findings.includes(`layer its parent ${theirs.layer}: layer not known`), findings.join('\n'));
  await assert.rejects(
    makeContainer(store, above, 'k8s_c_pod_ns_uid_0').then(({ id }) => store.mountContainer(id)),
    {
      advice: 'Mount the additional image store that it was in, or pull the image again.',
    },
  );
  await makeImage(store, 'example.com/theirs:1', 2);
  for (const id of [old.id, (await store.container('k8s_c_pod_ns_uid_0'))?.id ?? old.id]) {
    const merged = await store.mountContainer(id);
    const found = ['more', 'layer-0', 'layer-1'].map((name) => readFileSync(join(merged, name), 'utf8'));
    assert.deepEqual(found, ['example.com/above:1', '0', '1']);
    await store.deleteContainer(id);
  }
  assert.deepEqual(await store.health.check(EVERYTHING), []);
  await store.close();
}

/** Images and their layers in one root, containers in the other. */
async function split(): Promise<void> {
  await assert.rejects(openStore(G, { imageStore: `${G}/` }), {
    message: `imagestore ${G}/ must either be not set or be a different than graphroot`,
  });
  const [old] = await filled(G, { 'example.com/old:1': 1 });
  assert.ok(old !== undefined);
  const store = await openStore(G, { imageStore: X });
  const image = await makeImage(store, 'example.com/new:1', 2);
  // As containers/storage has it: the image's record and its layers' directories there, the records of all layers here.
  assert.deepEqual([ids(X, 'images'), ids(G, 'images'), ids(G, 'layers').length], [[image.id], [old.id], 3]);
  assert.ok(!existsSync(join(X, 'overlay-layers/layers.json')));
  assert.ok(existsSync(join(X, 'overlay', image.layer ?? '', 'diff/etc/hello')));
  assert.ok(existsSync(join(G, 'overlay-layers', `${image.layer}.tar-split.gz`)), 'where containers/storage looks for it');
  const container = await makeContainer(store, image, 'k8s_c_pod_ns_uid_0');
  assert.deepEqual(ids(G, 'layers', 'volatile-layers.json'), [container.layer]);
  const merged = await store.mountContainer(container.id);
  assert.equal(merged, join(G, 'overlay', container.layer, 'merged'));
  assert.equal(readFileSync(join(merged, 'layer-0'), 'utf8'), '0');
  assert.equal(await store.mountImage(image.id), join(R, 'overlay', image.layer ?? '', 'merged'));
  await store.unmountImage(image.id);
  assert.deepEqual(
    (await store.images()).map(({ id }) => id),
    [image.id, old.id],
  );

  // Another process with the same roots sees it at once, one without the image store sees what is below the graph root.
  const other = await openStore(G, { imageStore: X });
  await other.setImageNames(image.id, ['example.com/renamed:1']);
  assert.equal((await store.image('example.com/renamed:1'))?.id, image.id);
  await other.close();
  assert.deepEqual(await store.health.check(EVERYTHING), []);
  const use = await diskUse(store, () => true);
  assert.deepEqual([use.images.length, use.imageBytes, use.orphans], [2, 3072n, []]);

  // Debris in either root goes, and nothing else does.
  const stray = 'f'.repeat(64);
  for (const path of [join(G, 'overlay', stray), join(X, 'overlay', stray, 'diff'), join(X, 'overlay-images', stray)])
    mkdirSync(path, { recursive: true });
  await store.collectGarbage();
  await store.settled();
  for (const path of [join(G, 'overlay', stray), join(X, 'overlay', stray), join(X, 'overlay-images', stray)])
    assert.ok(!existsSync(path), path);
  assert.equal(readFileSync(join(merged, 'layer-1'), 'utf8'), '1');

  // What is damaged in the image store is found and taken out there.
  const bad = await makeImage(store, 'example.com/bad:1');
  rmSync(join(X, 'overlay', bad.layer ?? ''), { recursive: true });
  const findings = await store.health.check(EVERYTHING);
  assert.deepEqual(findings.map(({ kind, id }) => `${kind} ${id}`).toSorted(), [`image ${bad.id}`, `layer ${bad.layer}`]);
  assert.deepEqual((await store.health.repair(findings, { removeContainers: true })).remaining, []);
  assert.deepEqual(ids(X, 'images'), [image.id]);

  await store.deleteContainer(container.id);
  for (const { id } of await store.images()) await store.deleteImage(id);
  await store.collectGarbage();
  await store.settled();
  for (const root of [G, X]) {
    assert.deepEqual([ids(root, 'images'), ids(G, 'layers')], [[], []]);
    assert.deepEqual(
      readdirSync(join(root, 'overlay')).filter((name) => name.length === 64),
      [],
    );
    assert.deepEqual(readdirSync(join(root, 'overlay/l')), []);
  }
  await store.close();
}

/** While another tool holds one lock, a change has taken those that come before it, in its mode, and none after. */
async function order(): Promise<void> {
  await filled(A, { 'example.com/theirs:1': 1 });
  const store = await openStore(G, { imageStore: X, additionalImageStores: [A] });
  const locks: readonly (readonly [path: string, mode: 'READ' | 'WRITE'])[] = [
    [join(G, 'storage.lock'), 'WRITE'],
    [join(G, 'overlay-layers/layers.lock'), 'WRITE'],
    [join(X, 'overlay-layers/layers.lock'), 'WRITE'],
    [join(A, 'overlay-layers/layers.lock'), 'READ'],
    [join(X, 'overlay-images/images.lock'), 'WRITE'],
    [join(G, 'overlay-images/images.lock'), 'WRITE'],
    [join(A, 'overlay-images/images.lock'), 'READ'],
    [join(G, 'overlay-containers/containers.lock'), 'WRITE'],
    [join(R, 'overlay-layers/mountpoints.lock'), 'WRITE'],
  ];
  const inodes = new Map(locks.map(([path]) => [inodeOf(path), path] as const));
  for (const [index, [path, mode]] of locks.entries()) {
    const [program, ...args] = posixLocker(path);
    const holder = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(holder.stdout, 'data');
    const ended = once(holder, 'exit');
    const change = store.unmountContainer('a'.repeat(64) as HexId);
    if (mode === 'READ') await change; // Another store's writer is not waited for.
    else await waitsWith(path, locks.slice(0, index), inodes);
    holder.stdin.end();
    await Promise.all([change, ended]);
  }
  await store.close();
}

/** Somebody waits for that lock, and those are held. */
async function waitsWith(
  path: string,
  earlier: readonly (readonly [path: string, mode: string])[],
  inodes: ReadonlyMap<string, string>,
): Promise<void> {
  const waiting = new RegExp(`-> OFDLCK .* ${inodeOf(path)} `);
  while (!waiting.test(readFileSync('/proc/locks', 'utf8'))) await delay(1);
  const held = [...readFileSync('/proc/locks', 'utf8').matchAll(/^\d+: OFDLCK +ADVISORY +(READ|WRITE) +-?\d+ (\S+) /gm)]
    .filter(([, , inode]) => inodes.has(inode ?? ''))
    .map(([, mode, inode]) => `${mode} ${inodes.get(inode ?? '')}`);
  const before = earlier.map(([lock, mode]) => `${mode} ${lock}`);
  assert.deepEqual(new Set(held), new Set(before), path);
}

/** As /proc/locks writes it. */
function inodeOf(path: string): string {
  const { dev, ino } = statSync(path);
  const hex = (number: number) => number.toString(16).padStart(2, '0');
  return `${hex((dev >> 8) & 0xfff)}:${hex((dev & 0xff) | ((dev >> 12) & 0xfff00))}:${ino}`;
}

const scenarios = { additional, broken, gone, split, order };
const [name = ''] = process.argv.slice(2);
if (!Object.hasOwn(scenarios, name)) throw new Error(`no scenario ${name}`);
await scenarios[name as keyof typeof scenarios]();
