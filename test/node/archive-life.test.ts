import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { sha256 } from '../../src/ids/index.ts';
import { openRoot, removeTreeAt } from '../../src/linux/index.ts';
import { createLogger, silentLogger } from '../../src/log/index.ts';
import { LayerUnpacker, type UnpackedLayer } from '../../src/storage/index.ts';
import { archive, file, header, member } from '../fixtures/tar-writer.ts';
import { inside as unpackInside, made } from '../harness/layer-case.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { Workplace, pieces, unpack } from '../harness/trees.ts';

inPrivateNetwork(import.meta.filename);
const unpacker = new LayerUnpacker({ log: silentLogger, maxThreads: 2 });
after(() => unpacker.close());
const inside = unpackInside.bind(undefined, unpacker);

test('[a41] limits: bytes of the stream, of the files, number of entries', async () => {
  const bomb = gzipSync(archive(file('zeros', Buffer.alloc(50_000_000))));
  assert.ok(bomb.length < 100_000);
  using place = new Workplace();
  const limited = unpack(unpacker, place, bomb, { limits: { maxDiffBytes: 1_000_000 } });
  await assert.rejects(limited, { kind: 'ResourceExhausted', code: 'LIMIT' });
  assert.ok(statSync(place.path('diff/zeros')).size <= 1_000_000);
  const hole = {
    name: 'hole',
    pax: [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.realsize', '1000000000000'],
    ],
    contents: Buffer.from('0\n'.padEnd(512, '\0')),
  } as const;
  using content = await inside([hole], { limits: { maxContentBytes: 1e9 } });
  assert.equal(content.error?.code, 'LIMIT');
  using sparse = await inside([hole]);
  assert.deepEqual([statSync(made(sparse, 'hole')).size, statSync(made(sparse, 'hole')).blocks], [1e12, 0]);
  using entries = await inside([file('a'), file('b'), file('c')], { limits: { maxEntries: 2 } });
  assert.equal(entries.error?.code, 'LIMIT');
});

/** Whatever comes as the blob that should be `whole`. */
async function unpackBlob(
  own: LayerUnpacker,
  { diff: diffDir, tarSplit: tarSplitPath }: Workplace,
  blob: AsyncIterable<Uint8Array>,
  whole: Uint8Array,
  signal?: AbortSignal,
): Promise<UnpackedLayer> {
  return await own.unpack(blob, { diffDir, tarSplitPath, blobDigest: sha256(whole), diffId: undefined, ...(signal && { signal }) });
}

const openFiles = () => readdirSync('/proc/self/fd').length;

test('[a41] [a84] a fired signal ends the work at once, wherever it is, and leaves no descriptor; the next layer finds a working thread', async () => {
  const own = new LayerUnpacker({ log: silentLogger, maxThreads: 1 });
  const whole = gzipSync(archive(...Array.from({ length: 500 }, (_, i) => file(`d${i % 50}/f${i}`, Buffer.alloc(2000, i)))));
  const run = async (signal: AbortSignal, blob: AsyncIterable<Uint8Array>) => {
    using place = new Workplace();
    return await unpackBlob(own, place, blob, whole, signal);
  };
  await run(new AbortController().signal, pieces(whole));
  const before = openFiles();
  for (const ms of [0, 1, 5, 20, 50]) {
    const stop = new AbortController();
    const stalled = async function* (): AsyncGenerator<Uint8Array> {
      yield whole.subarray(0, whole.length / 2);
      await new Promise((_, reject) => stop.signal.addEventListener('abort', () => reject(new Error('connection closed')), { once: true }));
    };
    const work = assert.rejects(run(stop.signal, stalled()), /stop now/);
    // A second one on the same thread.
    const beside = assert.rejects(run(stop.signal, stalled()), /stop now/);
    await delay(ms);
    const began = performance.now();
    stop.abort(new Error('stop now'));
    await Promise.all([work, beside]);
    assert.ok(performance.now() - began < 1000);
  }
  await assert.rejects(run(AbortSignal.abort(new Error('never')), pieces(whole)), /never/);
  assert.ok(openFiles() <= before); // Threads of other tests may have ended meanwhile.
  assert.equal((await run(new AbortController().signal, pieces(whole))).blobSize, whole.length);
  await own.close();
});

test('layers share a thread: one that stands still, one that is damaged and one that is cancelled keep none of the others [I41]', async () => {
  const own = new LayerUnpacker({ log: silentLogger, maxThreads: 1 });
  const whole = gzipSync(archive(...Array.from({ length: 300 }, (_, i) => file(`f${i}`, Buffer.alloc(5000, i)))));
  const began = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const slow = async function* (): AsyncGenerator<Uint8Array> {
    yield whole.subarray(0, 500);
    began.resolve();
    await goOn.promise;
    yield whole.subarray(500);
  };
  const stop = new AbortController();
  const never = async function* (): AsyncGenerator<Uint8Array> {
    yield whole.subarray(0, 700);
    await new Promise((_, reject) => stop.signal.addEventListener('abort', () => reject(new Error('closed')), { once: true }));
  };
  using standing = new Workplace();
  using cancelled = new Workplace();
  const first = unpackBlob(own, standing, slow(), whole);
  const stopped = assert.rejects(unpackBlob(own, cancelled, never(), whole, stop.signal), /enough/);
  await began.promise;
  using other = new Workplace();
  assert.equal((await unpackBlob(own, other, pieces(whole), whole)).blobSize, whole.length);
  using damaged = new Workplace();
  await assert.rejects(unpackBlob(own, damaged, pieces(whole.subarray(0, -20)), whole), { code: 'BLOB_DIGEST_MISMATCH' });
  stop.abort(new Error('enough'));
  await stopped;
  goOn.resolve();
  assert.equal((await first).blobSize, whole.length);
  assert.deepEqual(readdirSync(standing.diff).toSorted(), readdirSync(other.diff).toSorted());
  assert.deepEqual(readFileSync(standing.tarSplit), readFileSync(other.tarSplit));
  await own.close();
});

test('[a41] a signal is also heard by a thread that decompresses without waiting for anything', async () => {
  const zeros = Buffer.alloc(8_000_000);
  for (const program of ['bzip2', 'xz']) {
    // Decompressed these are 40 GB.
    const stream = execFileSync(program, ['-c'], { input: zeros, maxBuffer: zeros.length });
    const blob = Buffer.concat(Array<Buffer>(5000).fill(stream));
    using place = new Workplace();
    const stop = new AbortController();
    let taken = () => {};
    const begun = new Promise<void>((resolve) => (taken = resolve));
    const work = unpack(unpacker, place, blob, { signal: stop.signal, onProgress: () => taken() });
    await Promise.race([begun, work]);
    const began = performance.now();
    stop.abort(new Error('stop now'));
    await assert.rejects(work, /stop now/);
    assert.ok(performance.now() - began < 1000, program);
  }
});

test('an error of the blob comes through as it is; closing ends what runs', async () => {
  const own = new LayerUnpacker({ log: silentLogger, maxThreads: 1 });
  using place = new Workplace();
  const failing = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(100_000);
    throw await Promise.resolve(new RangeError('connection reset'));
  };
  const options = { diffDir: place.diff, blobDigest: sha256(''), diffId: undefined };
  await assert.rejects(own.unpack(failing(), { ...options, tarSplitPath: place.path('1') }), {
    name: 'RangeError',
    message: 'connection reset',
  });
  const never = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(10);
    await new Promise(() => {});
  };
  const running = assert.rejects(own.unpack(never(), { ...options, tarSplitPath: place.path('2') }), { kind: 'Canceled' });
  const beside = assert.rejects(own.unpack(never(), { ...options, tarSplitPath: place.path('3') }), { kind: 'Canceled' });
  await own.close();
  await Promise.all([running, beside]);
  await assert.rejects(own.unpack(failing(), { ...options, tarSplitPath: place.path('4') }), { kind: 'Canceled' });
});

test('what cannot be written fails with its errno and leaves no descriptor', async () => {
  using place = new Workplace();
  const warm = await unpack(unpacker, place, archive(file('f')));
  assert.equal(warm.blobSize, 1536);
  const before = openFiles();
  await assert.rejects(unpack(unpacker, place, archive(file('g'))), { code: 'EEXIST' }); // The tar-split is there already.
  await assert.rejects(unpack(unpacker, place, archive(file('g')), { diffDir: place.path('missing') }), { code: 'ENOENT' });
  const mounted = place.path('small');
  mkdirSync(mounted);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mounted]);
  try {
    const full = unpack(unpacker, place, archive(file('big', Buffer.alloc(2_000_000))), {
      diffDir: mounted,
      tarSplitPath: place.path('other'),
    });
    await assert.rejects(full, { code: 'ENOSPC' });
    assert.ok(openFiles() <= before);
  } finally {
    execFileSync('umount', [mounted]);
  }
});

test('progress counts the bytes worked on, and a blob in one big piece or in many small ones is the same', async () => {
  const blob = gzipSync(archive(file('random', Buffer.from(Array.from({ length: 700_000 }, (_, i) => (i * 7919) ^ (i >> 5))))), {
    level: 0,
  });
  for (const size of [1, 1000, blob.length]) {
    using place = new Workplace();
    const seen: number[] = [];
    const options = { diffDir: place.diff, tarSplitPath: place.tarSplit, blobDigest: sha256(blob), diffId: undefined };
    const few = size === 1 ? blob.subarray(0, 0) : blob;
    await unpacker.unpack(pieces(few, size), { ...options, blobDigest: sha256(few), onProgress: (bytes) => void seen.push(bytes) });
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    );
    if (size !== 1) assert.equal(seen.at(-1), blob.length);
  }
});

test('what a file system cannot keep is warned about once and does not fail the layer', async () => {
  const lines: string[] = [];
  const own = new LayerUnpacker({
    log: createLogger({ level: 'warning', filter: undefined, write: (line) => void lines.push(line) }),
    maxThreads: 1,
  });
  using place = new Workplace();
  const pax = [
    ['SCHILY.xattr.unknown.a', '1'],
    ['SCHILY.xattr.unknown.b', '1'],
  ] as const;
  await unpack(own, place, archive(file('f', '', { pax }), header(file('g')), member(file('h', '', { pax }))));
  await own.close();
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /level=warning msg="Cannot set xattr unknown\.a of f/);
});

test('[a80] removing a tree follows no link and stops at what is mounted in it', () => {
  using place = new Workplace();
  using parent = openRoot(place.dir);
  mkdirSync(place.path('diff/a/mounted'), { recursive: true });
  mkdirSync(place.path('kept'));
  writeFileSync(place.path('kept/file'), 'x');
  symlinkSync('../kept', place.path('diff/link'));
  removeTreeAt(parent.fd, 'missing');
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', place.path('diff/a/mounted')]);
  writeFileSync(place.path('diff/a/mounted/precious'), 'x');
  assert.throws(() => removeTreeAt(parent.fd, 'diff'), { code: 'EBUSY' });
  assert.equal(readFileSync(place.path('diff/a/mounted/precious'), 'utf8'), 'x');
  execFileSync('umount', [place.path('diff/a/mounted')]);
  removeTreeAt(parent.fd, 'diff');
  assert.deepEqual([existsSync(place.diff), readFileSync(place.path('kept/file'), 'utf8')], [false, 'x']);
});
