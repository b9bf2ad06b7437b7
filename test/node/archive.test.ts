import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { sha256 } from '../../src/ids/index.ts';
import { silentLogger } from '../../src/log/index.ts';
import { LayerUnpacker } from '../../src/storage/index.ts';
import { archive, dir, file, hardLink, symlink } from '../fixtures/tar-writer.ts';
import { projectRoot } from '../harness/tools.ts';
import { toolPath } from '../harness/tools.ts';
import { Workplace, reassembled, treeLines, unpack } from '../harness/trees.ts';

const unpacker = new LayerUnpacker({ log: silentLogger, maxThreads: 2 });
after(() => unpacker.close());

const sh = (cwd: string, script: string) =>
  execFileSync('sh', ['-euc', script], { cwd, maxBuffer: 2 ** 30, stdio: ['ignore', 'pipe', 'pipe'] });

/** What every format can say. */
const PLAIN = `
  mkdir -p a/b/c empty etc; umask 0
  : > empty-file; printf x > one; head -c 511 /dev/zero > a/511; head -c 512 /dev/urandom > a/512; head -c 513 /dev/urandom > a/b/513
  head -c 1500000 /dev/urandom > a/b/big
  install -m 4755 one a/setuid; install -m 2711 one a/setgid; mkdir -m 1777 tmp; mkdir -m 2775 group; install -m 0 one a/none
  ln -s /etc/passwd absolute; ln -s ../../.. up; ln -s nowhere dangling; ln -s b/c a/dir-link
  ln a/512 hard; ln a/512 a/b/c/hard2
  mkfifo -m 640 fifo; mknod -m 666 null c 1 3; mknod -m 600 disk b 259 70000
  chown 1000:2000 one a/b; chown 70000:80000 a/511; chown -h 5:6 dangling; chown 7:8 fifo null
  touch -hd '2001-02-03 04:05:06' one a/b absolute fifo hard; touch -d '1970-01-01 00:00:00Z' a/513x; touch -d '1985-01-01' tmp`;

/** What only some can. */
const RICH = `${PLAIN}
  long=$(printf '%0120d' 0); mkdir -p $long/$long; echo deep > $long/$long/$long; ln -s $long/$long/$long long-link; ln $long/$long/$long hard-long
  printf y > "$(printf 'gr\\303\\274n <&> "q" \\\\')"; printf z > "$(printf 'raw\\377name')"
  touch -d '2020-02-02 02:02:02.123456789' one; touch -d '2019-01-01 00:00:00.000000001' group
  truncate -s 3000000 sparse; printf data | dd of=sparse bs=1 seek=1000000 conv=notrunc status=none`;

const GNU = ['--numeric-owner', '--format'] as const;

interface Maker {
  readonly what: string;
  readonly tree: string;
  readonly argv: readonly string[];
  readonly xattrs?: boolean;
}

const MAKERS: readonly Maker[] = [
  {
    what: 'GNU tar, v7',
    tree: PLAIN.replace(/70000:80000/, '7000:8000') + '; rm fifo null disk',
    argv: ['tar', ...GNU, 'v7'],
  },
  { what: 'GNU tar, ustar', tree: PLAIN, argv: ['tar', ...GNU, 'ustar'] },
  { what: 'GNU tar, oldgnu', tree: RICH, argv: ['tar', ...GNU, 'oldgnu'] },
  { what: 'GNU tar, gnu', tree: RICH, argv: ['tar', ...GNU, 'gnu'] },
  { what: 'GNU tar, pax with xattrs', tree: RICH, argv: ['tar', '--xattrs', '--xattrs-include=*', ...GNU, 'pax'], xattrs: true },
  { what: 'GNU tar, pax sparse 0.0', tree: RICH, argv: ['tar', '-S', '--sparse-version=0.0', ...GNU, 'pax'] },
  { what: 'GNU tar, pax sparse 0.1', tree: RICH, argv: ['tar', '-S', '--sparse-version=0.1', ...GNU, 'pax'] },
  { what: 'GNU tar, pax sparse 1.0', tree: RICH, argv: ['tar', '-S', '--sparse-version=1.0', ...GNU, 'pax'] },
  { what: 'bsdtar, pax', tree: RICH, argv: ['bsdtar', '--numeric-owner', '--no-read-sparse', '--format', 'pax'] },
  { what: 'bsdtar, gnutar', tree: RICH, argv: ['bsdtar', '--numeric-owner', '--no-read-sparse', '--format', 'gnutar'] },
];

const XATTRS = `
  setfattr -n user.plain -v value one 2>/dev/null || true
  setfattr -n trusted.mine -v 0x00ff00 a/b; setfattr -h -n trusted.link -v 1 dangling; setfattr -n user.empty a/512; setfattr -n trusted.fifo -v 1 fifo
  setcap cap_net_raw,cap_net_bind_service=ep a/setuid`;

const have = (program: string) => toolPath.split(':').some((path) => existsSync(`${path}/${program}`));

for (const { what, tree, argv, xattrs } of MAKERS) {
  const [program = '', ...args] = argv;
  const missing = [program, ...(xattrs === true ? ['setfattr', 'setcap'] : [])].filter((name) => !have(name));
  test(
    `[a39] ${what}: the tree is the one that tar -x makes, and the tar can be rebuilt from it`,
    { skip: missing.length > 0 && missing.join(', ') },
    async () => {
      using place = new Workplace();
      for (const name of ['source', 'wanted']) mkdirSync(place.path(name));
      sh(place.path('source'), tree);
      if (xattrs === true) sh(place.path('source'), XATTRS);
      // One tool names its entries ./x, the other x.
      execFileSync(program, [...args, '-C', place.path('source'), '-cf', place.path('layer.tar'), '.'], { stdio: 'pipe' });
      // Each by its own: GNU tar restores directories' times too early where links come last, as bsdtar writes them.
      const options = program === 'tar' ? ['--xattrs', '--xattrs-include=*'] : ['--numeric-owner'];
      const extract = [...options, '--same-owner', '-p', '-C', place.path('wanted'), '-xf', place.path('layer.tar')];
      execFileSync(program, extract, { stdio: 'pipe' });
      const bytes = readFileSync(place.path('layer.tar'));
      const layer = await unpack(unpacker, place, bytes);
      assert.deepEqual(treeLines(place.diff), treeLines(place.path('wanted')));
      assert.deepEqual([layer.diffId, layer.diffSize, layer.compression], [sha256(bytes), bytes.length, 0]);
      assert.equal(reassembled(place.tarSplit, place.diff), layer.diffId);
      assert.equal(statSync(place.tarSplit).mode & 0o7777, 0o600);
      const ids = treeLines(place.path('source')).map((line) => /^.*? 1?\d{5,6} (\d+):(\d+) /.exec(line));
      for (const id of ids) if (id !== null) assert.ok(layer.uids.includes(Number(id[1])) && layer.gids.includes(Number(id[2])), id[0]);
    },
  );
}

test('[a39] a layer made by umoci: the tree is the one that tar -x makes', { skip: !have('umoci') && 'umoci' }, async () => {
  using place = new Workplace();
  for (const name of ['source', 'wanted']) mkdirSync(place.path(name));
  sh(place.path('source'), RICH);
  sh(place.dir, 'umoci init --layout image; umoci new --image image:x; umoci insert --image image:x source /tree');
  const blobs = readdirSync(place.path('image/blobs/sha256')).map((name) => place.path('image/blobs/sha256', name));
  const path = blobs.find((blob) => readFileSync(blob).readUInt16BE() === 0x1f8b);
  assert.ok(path !== undefined);
  execFileSync('tar', ['--xattrs', '--xattrs-include=*', '-p', '-C', place.path('wanted'), '-xf', path], { stdio: 'pipe' });
  const layer = await unpack(unpacker, place, readFileSync(path));
  assert.deepEqual(treeLines(place.diff), treeLines(place.path('wanted')));
  assert.equal(reassembled(place.tarSplit, place.diff), layer.diffId);
});

const small = archive(
  dir('etc/'),
  file('etc/hosts', 'localhost\n'),
  symlink('link', 'etc'),
  hardLink('hosts', 'etc/hosts'),
  file('big', Buffer.alloc(300_000, 'xyz')),
);

/** A frame that decompressors skip, as zstd:chunked has. */
function skippable(contents: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a50, 0);
  head.writeUInt32LE(contents.length, 4);
  return Buffer.concat([head, contents]);
}

/** By Debian's program. */
const packed = (program: 'bzip2' | 'xz', data: Uint8Array, ...args: string[]) =>
  execFileSync(program, ['-c', ...args], { input: data, maxBuffer: 2 ** 28, stdio: ['pipe', 'pipe', 'inherit'] });

test('[a41] gzip, zstd, bzip2 and xz, in one piece and in several, with skippable frames, are sniffed and are one stream', async () => {
  const [a, b] = [small.subarray(0, 1000), small.subarray(1000)];
  for (const [what, blob, compression] of [
    ['plain', small, 0],
    ['gzip', gzipSync(small), 2],
    ['two gzip members', Buffer.concat([gzipSync(a), gzipSync(b)]), 2],
    ['an empty gzip member first', Buffer.concat([gzipSync(Buffer.alloc(0)), gzipSync(small)]), 2],
    ['zstd', zstdCompressSync(small), 4],
    ['two zstd frames', Buffer.concat([zstdCompressSync(a), zstdCompressSync(b)]), 4],
    [
      'skippable frames between and behind',
      Buffer.concat([zstdCompressSync(a), skippable(a), zstdCompressSync(b), skippable(b), skippable(b)]),
      4,
    ],
    ['bzip2', packed('bzip2', small), 1],
    ['bzip2 of several blocks', packed('bzip2', small, '-1'), 1],
    ['two bzip2 streams', Buffer.concat([packed('bzip2', a), packed('bzip2', b)]), 1],
    ['xz', packed('xz', small), 3],
    ['xz of several blocks, without a check', packed('xz', small, '--block-size=50000', '--check=none'), 3],
    ['two xz streams, padding between and behind', Buffer.concat([packed('xz', a), Buffer.alloc(8), packed('xz', b), Buffer.alloc(4)]), 3],
    ['xz with the largest dictionary of its presets', packed('xz', small, '-9', '--check=crc32'), 3],
  ] as const) {
    using place = new Workplace();
    const layer = await unpack(unpacker, place, blob, { diffId: sha256(small) });
    const wanted = {
      blobDigest: sha256(blob),
      blobSize: blob.length,
      diffId: sha256(small),
      diffSize: small.length,
      compression,
      uids: [0],
      gids: [0],
    };
    assert.deepEqual(layer, wanted, what);
    assert.equal(readFileSync(place.path('diff/hosts'), 'utf8'), 'localhost\n');
    assert.equal(reassembled(place.tarSplit, place.diff), layer.diffId, what);
  }
});

test('[a41] a stream cut short, damaged, followed by something else, or of another kind is refused by name', async () => {
  // A frame header that asks for 2 GiB (RFC 8878 §3.1.1.1), and an empty last block.
  const window = Buffer.from('28b52ffd00a8010000', 'hex');
  const gzip = gzipSync(small);
  const damaged = Buffer.from(gzip);
  damaged.writeUInt32LE(0, damaged.length - 8);
  const [bzip2, xz] = [packed('bzip2', small), packed('xz', small)];
  const spoiled = (blob: Buffer, at: number) =>
    Buffer.concat([blob.subarray(0, at), Buffer.from([~(blob[at] ?? 0)]), blob.subarray(at + 1)]);
  for (const [what, blob, message] of [
    ['cut gzip', gzip.subarray(0, -5), /gzip: unexpected end of file/],
    ['cut zstd', zstdCompressSync(small).subarray(0, -5), /zstd: unexpected end of file/],
    ['gzip with a wrong checksum', damaged, /gzip: incorrect data check/],
    ['zeros behind gzip', Buffer.concat([gzip, Buffer.alloc(1000)]), /gzip: data after the end/],
    ['garbage behind zstd', Buffer.concat([zstdCompressSync(small), Buffer.from('garbage!')]), /zstd: data after the end/],
    ['much garbage behind gzip', Buffer.concat([gzip, Buffer.alloc(6_000_000)]), /gzip: data after the end/],
    ['a window of 2 GiB', window, /zstd: .*memory/i],
    ['cut bzip2', bzip2.subarray(0, -5), /bzip2: unexpected end of file/],
    ['bzip2 that ends with its header', bzip2.subarray(0, 4), /bzip2: unexpected end of file/],
    ['a bzip2 block with a wrong checksum', spoiled(bzip2, 11), /bzip2: .*CRC/],
    ['a bzip2 stream with a wrong checksum', spoiled(bzip2, bzip2.length - 2), /bzip2: .*CRC/],
    ['corrupt bzip2', spoiled(bzip2, 60), /bzip2: Data error/],
    ['garbage behind bzip2', Buffer.concat([bzip2, Buffer.from('garbage!')]), /bzip2: Not bzip data/],
    ['a bzip2 block without end', Buffer.concat([bzip2.subarray(0, 18), Buffer.alloc(6_000_000, 0x55)]), /bzip2: /],
    ['cut xz', xz.subarray(0, -5), /xz: unexpected end of file/],
    ['corrupt xz', spoiled(xz, 100), /xz: the data is corrupt/],
    ['xz with a wrong checksum', spoiled(xz, xz.length - 30), /xz: the data is corrupt/],
    ['garbage behind xz', Buffer.concat([xz, Buffer.from('garbage!')]), /xz: .*data after the end/],
    ['no tar at all', Buffer.from('hello'.repeat(1000)), /tar header/],
  ] as const) {
    using place = new Workplace();
    await assert.rejects(unpack(unpacker, place, blob), (error: { kind?: string; message: string }) => {
      assert.match(error.message, message, what);
      assert.equal(error.kind, 'InvalidArgument', what);
      return true;
    });
    // The thread that stumbled takes the next layer.
    using next = new Workplace();
    assert.equal((await unpack(unpacker, next, /bzip2/.test(what) ? bzip2 : xz)).diffId, sha256(small), what);
  }
});

test('[a41] xz that wants more memory than its presets, or what few can read, is refused by name', async () => {
  for (const [args, message] of [
    [['--lzma2=preset=0,dict=65MiB'], /xz: its dictionary is larger than 64 MiB/],
    [['--lzma2=preset=0,dict=1536MiB'], /xz: its dictionary is larger than 64 MiB/],
    [['--check=sha256'], /xz: it uses a filter other than LZMA2, or a check other than/],
    [['--x86', '--lzma2'], /xz: it uses a filter other than LZMA2/],
  ] as const) {
    using place = new Workplace();
    await assert.rejects(unpack(unpacker, place, packed('xz', small, ...args)), { kind: 'Unimplemented', message });
  }
});

test('[I48] both digests are verified and named; a damaged blob is told by its digest, not by what its tar looks like', async () => {
  const gzip = gzipSync(small);
  const other = sha256('other');
  {
    using place = new Workplace();
    const failure = { code: 'BLOB_DIGEST_MISMATCH', message: `blob digest mismatch: expected ${other}, got ${sha256(gzip)}` };
    await assert.rejects(unpack(unpacker, place, gzip, { blobDigest: other }), failure);
  }
  {
    using place = new Workplace();
    const failure = { code: 'DIFF_ID_MISMATCH', message: new RegExp(`DiffID "${other}".*${sha256(small)}`) };
    await assert.rejects(unpack(unpacker, place, gzip, { diffId: other }), failure);
  }
  for (const damage of [
    gzip.subarray(0, -20),
    Buffer.concat([gzip.subarray(0, 200), Buffer.from('?'), gzip.subarray(201)]),
    Buffer.from('<html>not found</html>'),
    Buffer.from('BZh9'),
  ]) {
    using place = new Workplace();
    await assert.rejects(unpack(unpacker, place, damage, { blobDigest: sha256(gzip) }), { code: 'BLOB_DIGEST_MISMATCH' });
  }
  using place = new Workplace();
  assert.equal((await unpack(unpacker, place, small, { diffId: sha256(small) })).blobDigest, sha256(small));
});

test('an empty blob is an empty layer, and what follows the end marker belongs to it', async () => {
  using empty = new Workplace();
  const layer = await unpack(unpacker, empty, Buffer.alloc(0));
  assert.deepEqual([layer.diffSize, layer.diffId, layer.uids], [0, sha256(''), []]);
  assert.equal(reassembled(empty.tarSplit, empty.diff), layer.diffId);
  using trailing = new Workplace();
  const long = Buffer.concat([small, Buffer.alloc(2_500_000), Buffer.from('end')]);
  assert.equal((await unpack(unpacker, trailing, gzipSync(long), { diffId: sha256(long) })).diffSize, long.length);
  assert.equal(reassembled(trailing.tarSplit, trailing.diff), sha256(long));
});

test('a process that forgot to close its unpacker ends all the same', () => {
  using place = new Workplace();
  writeFileSync(place.path('layer.tar'), small);
  writeFileSync(
    place.path('program.mjs'),
    `import { LayerUnpacker } from '${projectRoot}/src/storage/index.ts';
    import { readFileSync } from 'node:fs';
    const [dir, blobDigest] = process.argv.slice(2);
    const unpacker = new LayerUnpacker({ log: { warn() {} }, maxThreads: 1 });
    async function* blob() { yield readFileSync(dir + '/layer.tar'); }
    await unpacker.unpack(blob(), { diffDir: dir + '/diff', tarSplitPath: dir + '/split', blobDigest, diffId: undefined });`,
  );
  const began = performance.now();
  const argv = ['--disable-warning=ExperimentalWarning', place.path('program.mjs'), place.dir, sha256(small)];
  execFileSync(process.execPath, argv, { cwd: projectRoot, stdio: 'pipe', timeout: 20_000 });
  assert.ok(existsSync(place.path('diff/hosts')));
  assert.ok(performance.now() - began < 4500, 'not even an idle thread holds it up');
});

test('several layers at once, more than there are threads', async () => {
  const places = Array.from({ length: 6 }, () => new Workplace());
  try {
    const layers = places.map(async (place, i) => {
      const bytes = archive(file(`f${i}`, Buffer.alloc(500_000 + i, i)), dir(`d${i}`));
      const layer = await unpack(unpacker, place, i % 2 === 0 ? gzipSync(bytes) : bytes, { diffId: sha256(bytes) });
      assert.equal(statSync(place.path(`diff/f${i}`)).size, 500_000 + i);
      assert.equal(reassembled(place.tarSplit, place.diff), layer.diffId);
    });
    await Promise.all(layers);
  } finally {
    for (const place of places) place[Symbol.dispose]();
  }
});
