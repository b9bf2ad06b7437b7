import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { textOf } from '../../src/errors/index.ts';
import type { HexId } from '../../src/ids/index.ts';
import { type Member, archive, dir, file, hardLink, symlink } from '../fixtures/tar-writer.ts';
import {
  type Toc,
  type TocEntry,
  type LayerDescriptor,
  bytesServed,
  copyAsChunked,
  copyAsOldChunked,
  manifestOf,
  noise,
  putRetold,
  tablesOf,
} from '../harness/chunked.ts';
import { ImageFixture } from '../harness/image-fixture.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { newerProgram } from '../harness/newer-debian.ts';
import { RegistryStorage } from '../harness/registry-storage.ts';
import { type RunningRegistry, startRegistry } from '../harness/registry.ts';
import { StandInRegistry } from '../harness/stand-in-registry.ts';
import { toolPath } from '../harness/tools.ts';
import { reassembled, treeLines } from '../harness/trees.ts';

/** Fetched while there is a network, once a machine. */
const mkfs = readFileSync('/proc/filesystems', 'utf8').includes('\txfs\n')
  ? await newerProgram('xfsprogs', 'xfsprogs', 'usr/sbin/mkfs.xfs')
  : undefined;

inPrivateNetwork(import.meta.filename);

/** One store pulls whole layers, the other in parts. */
const whole = new ImageFixture();
const parts = new ImageFixture();
const storage = new RegistryStorage(join(whole.dir, 'registry'));
/** It knows no ranges of blobs, only their rests. */
const plain = new StandInRegistry(storage.dir);
let registry: RunningRegistry;

const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex');

/** Everything that a layer can hold, and eighty files of 20 kB. */
const VERSION_1: readonly Member[] = [
  dir('./', { mode: 0o755 }),
  dir('etc/', { uid: 3, gid: 4, mtime: 981_173_106 }),
  dir('usr/', { mtime: 17 }),
  dir('usr/lib/', { mode: 0o2755, gid: 5, mtime: 18 }),
  file('etc/empty'),
  file('etc/hosts', 'localhost\n', { mode: 0o600, uid: 1000, gid: 2000 }),
  ...Array.from({ length: 80 }, (_, index) => file(`usr/lib/file-${index}`, noise(index, 20_000), { mtime: 1_600_000_000 + index })),
  file('usr/big', noise(100, 600_000), { mode: 0o755 }),
  file('usr/holes', Buffer.concat([noise(101, 10_000), Buffer.alloc(600_000), noise(102, 10_000)])),
  file('usr/setuid', noise(103, 20_000), { mode: 0o4755 }),
  file('usr/ping', noise(104, 20_000), {
    pax: [
      ['SCHILY.xattr.security.capability', CAPABILITY.toString('latin1')],
      ['mtime', '1600000000.123456789'],
    ],
  }),
  file('usr/attributes', noise(105, 20_000), {
    pax: [
      ['SCHILY.xattr.user.colour', 'blue'],
      ['SCHILY.xattr.trusted.mine', 'x'],
    ],
  }),
  file('usr/gr\xc3\xbcn <&> "q"', noise(106, 5000)),
  file('usr/tail', noise(108, 30_000)),
  hardLink('usr/again', 'usr/big', { mode: 0o755 }),
  symlink('usr/link', '/etc/passwd'),
  { name: 'null', type: '3', major: 1, minor: 3, mode: 0o666 },
  { name: 'pipe', type: '6', mode: 0o640 },
  file('etc/.wh.gone'),
  dir('opaque/'),
  file('opaque/.wh..wh..opq'),
];

/** Three files of the eighty are others, one is called otherwise, and some are the same but for what their headers say. */
const VERSION_2: readonly Member[] = VERSION_1.map((member) => {
  const index = Number(/file-(\d+)$/.exec(member.name)?.[1] ?? -1);
  if ([5, 40, 41].includes(index)) return { ...member, contents: noise(200 + index, 20_000) };
  if (index === 10) return { ...member, name: 'usr/lib/renamed' };
  if (index === 11) return { ...member, mode: 0o4711, uid: 7, gid: 8, mtime: 5 };
  return index === 12 ? { ...member, pax: [['SCHILY.xattr.user.colour', 'red']] as const } : member;
});

const name = (repository: string, host = registry.host) => `${host}/${repository}:latest`;

/** Stores the image of one layer, as skopeo makes it zstd:chunked. */
async function put(repository: string, members: readonly (Member | Buffer)[], copy: (from: string, to: string) => unknown = copyAsChunked) {
  storage.putImage(`${repository}-gzip`, 'latest', { layers: [{ tar: archive(...members) }] });
  await copy(name(`${repository}-gzip`), name(repository));
}

function layerOf(repository: string): LayerDescriptor {
  const [layer] = manifestOf(storage, repository, 'latest').layers;
  assert.ok(layer !== undefined);
  return layer;
}

async function pull(fixture: ImageFixture, repository: string, host?: string): Promise<HexId> {
  const { imageId } = await fixture.images.pull(name(repository, host));
  const { layer } = (await fixture.store.images()).find(({ id }) => id === imageId) ?? {};
  assert.ok(layer !== undefined);
  return layer;
}

/** A whiteout has no time of its own. */
const treeOf = (fixture: ImageFixture, layer: HexId) =>
  treeLines(fixture.store.layerDiffDirectory(layer)).map((line) => line.replace(/(device=0) mtime=\d+/, '$1'));
const tarSplit = (fixture: ImageFixture, layer: HexId) => join(fixture.dir, 'graph/overlay-layers', `${layer}.tar-split.gz`);
const recordOf = async (fixture: ImageFixture, layer: HexId) => {
  const record = await fixture.store.layer(layer);
  assert.ok(record !== undefined);
  return { ...record, created: '' };
};

/** The layer of `parts` is in every respect the one of a whole pull. */
async function assertEqual(layer: HexId, repository: string): Promise<void> {
  assert.equal(await pull(whole, repository), layer, 'the same id');
  assert.deepEqual(treeOf(parts, layer), treeOf(whole, layer));
  const { diffDigest } = await recordOf(parts, layer);
  assert.equal(reassembled(tarSplit(parts, layer), parts.store.layerDiffDirectory(layer)), diffDigest);
}

/** What the log says of a layer, once. */
function said(fixture: ImageFixture, digest: string): string {
  const lines = fixture.logged.split('\n').filter((line) => line.includes('level=info') && line.includes(`Layer ${digest}`));
  assert.equal(lines.length, 1, lines.join('\n'));
  return lines[0] ?? '';
}

before(async () => {
  await whole.start();
  await parts.start();
  registry = await startRegistry({ storage: storage.dir });
  await plain.start();
  const insecure = [registry.host, plain.host].map((host) => `[[registry]]\nlocation = "${host}"\ninsecure = true\n`).join('');
  await whole.configure({}, insecure);
  await parts.configure({ partialImages: true }, insecure);
  await put('one', VERSION_1);
  await put('two', VERSION_2);
});

afterEach(async () => {
  for (const fixture of [whole, parts]) {
    await fixture.nothingStaged();
    await fixture.clear();
    assert.deepEqual(fixture.layers(), []);
    fixture.logged = '';
  }
  await parts.configure({ partialImages: true, hardLinks: false });
  plain.forget();
});

after(async () => {
  await plain.stop();
  await registry.stop();
  await whole.end();
  await parts.end();
});

describe('a partial pull', () => {
  it('[J39, J40, p24] fetches what no layer of the store has, and makes the layer that a whole pull makes', async () => {
    const { digest, size } = layerOf('two');
    await pull(parts, 'one');
    const before = registry.log().length;
    const layer = await pull(parts, 'two');
    const line = new RegExp(`(\\d+) of ${size} bytes fetched, 85 of 88 files were in the store`).exec(said(parts, digest));
    const bytes = Number(line?.[1]);
    assert.ok(bytes > 60_000 && bytes < size / 10, said(parts, digest));
    const served = () => bytesServed(registry.log().slice(before), digest);
    // Its log comes through a pipe, after the answers.
    for (let tries = 0; tries < 40 && served() < bytes; tries++) await delay(25);
    assert.equal(served(), bytes, 'the registry served as much');
    const [came, all] = [bytes, size].map((each) => (each / 1e6).toFixed(1));
    assert.match(parts.logged, new RegExp(`1 layers, 1 of them new, ${came} of ${all} MB in`));
    await assertEqual(layer, 'two');
    const full = { ...(await recordOf(whole, layer)), compressedDiffDigest: undefined, compressedSize: 0n, compression: 0 };
    assert.deepEqual(await recordOf(parts, layer), full, 'a digest that nobody has seen is not written down');
    console.log(`# a second version of an image of ${size} bytes: ${bytes} bytes fetched`);
  });

  it('[J39] finds files in layers that came whole and with gzip', async () => {
    const { digest } = layerOf('two');
    await pull(parts, 'one-gzip');
    await assertEqual(await pull(parts, 'two'), 'two');
    assert.match(said(parts, digest), /85 of 88 files were in the store/);
  });

  it('[J37, J39] finds files in layers of additional image stores, and gives them no more names', async () => {
    const fixture = new ImageFixture();
    await fixture.start({ additionalImageStores: [join(whole.dir, 'graph')] });
    try {
      const insecure = `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`;
      await fixture.configure({ partialImages: true, hardLinks: true }, insecure);
      const theirs = await pull(whole, 'one');
      const before = treeOf(whole, theirs);
      const layer = await pull(fixture, 'two');
      assert.match(said(fixture, layerOf('two').digest), /85 of 88 files were in the store/);
      assert.deepEqual(treeOf(whole, theirs), before, 'it is as it was, also the number of its links');
      const tree = treeOf(fixture, layer);
      assert.equal(await pull(whole, 'two'), layer);
      assert.deepEqual(tree, treeOf(whole, layer));
    } finally {
      await fixture.end();
    }
  });

  it('[J39] is not the default: no range is asked for', async () => {
    await pull(whole, 'one', plain.host);
    assert.deepEqual(
      plain.seen.flatMap(({ headers }) => headers.range ?? []),
      [],
    );
    assert.doesNotMatch(whole.logged, /as a whole/);
  });

  it('[J39] goes on where a file of the store is not what its tar-split says', async () => {
    const { digest } = layerOf('two');
    const below = await pull(parts, 'one');
    writeFileSync(join(parts.store.layerDiffDirectory(below), 'usr/lib/file-0'), noise(9, 20_000));
    await assertEqual(await pull(parts, 'two'), 'two');
    assert.match(said(parts, digest), /84 of 88 files were in the store/);
  });
});

describe('a layer is fetched as a whole', () => {
  const fallsBack = async (repository: string, why: RegExp, host?: string) => {
    await pull(parts, 'one');
    parts.logged = '';
    const layer = await pull(parts, repository, host);
    const { digest } = layerOf(repository);
    assert.match(said(parts, digest), /is fetched as a whole: /);
    assert.match(said(parts, digest), why);
    assert.deepEqual((await recordOf(parts, layer)).compressedDiffDigest, digest);
    await assertEqual(layer, repository);
  };

  it('[J39] that is not zstd:chunked', async () => {
    await fallsBack('two-gzip', /has no table of contents/);
  });

  it('[J39] whose files are not here', async () => {
    const { digest } = layerOf('one');
    await assertEqual(await pull(parts, 'one'), 'one');
    assert.match(said(parts, digest), /\d+ of its \d+ bytes would have to be fetched/);
  });

  it('[J39] without a table that is known by its name, as older tools make it', async () => {
    await put('old', VERSION_2, copyAsOldChunked);
    await fallsBack('old', /has no table of contents/);
  });

  it('[J39] of a registry without ranges', async () => {
    await fallsBack('two', /does not serve ranges/, plain.host);
  });

  it('[J39, I48] with a part that was changed on its way', async () => {
    const { digest } = layerOf('two');
    const blob = readFileSync(storage.blobFile(digest));
    plain.intercept = ({ path, headers }, response) => {
      const range = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '');
      if (!path.includes(digest) || range === null) return false;
      const [start, end] = [Number(range[1]), Number(range[2]) + 1];
      const bytes = Buffer.from(blob.subarray(start, end));
      // The tables, at the end, are as they should be.
      if (end < blob.length / 2) bytes[1000] = (bytes[1000] ?? 0) ^ 1;
      response.writeHead(206, { 'Content-Length': bytes.length, 'Content-Range': `bytes ${start}-${end - 1}/${blob.length}` }).end(bytes);
      return true;
    };
    await fallsBack('two', /does not have the digest|cannot be unpacked/, plain.host);
  });

  const retold = async (why: RegExp, retell: Parameters<typeof putRetold>[3]) => {
    putRetold(storage, { repository: 'two', tag: 'latest' }, 'retold', retell);
    await fallsBack('retold', why);
  };
  const changed = ({ entries }: Toc): TocEntry => {
    const entry = entries.find((each) => each.name === 'usr/lib/file-40');
    assert.ok(entry !== undefined);
    return entry;
  };
  const LIES: readonly (readonly [what: string, why: RegExp, retell: (toc: Toc) => void])[] = [
    ['an unknown version', /has the version 2/, (toc) => (toc.version = 2)],
    ['no version', /has the version undefined/, (toc) => Reflect.deleteProperty(toc, 'version')],
    ['no list', /has no entries/, (toc) => Object.assign(toc, { entries: {} })],
    ['entries that are none', /is no such table/, (toc) => Object.assign(toc, { entries: [null] })],
    ['a hole', /does not know \\"usr\/lib\/file-40\\"/, (toc) => toc.entries.splice(toc.entries.indexOf(changed(toc)), 1)],
    ['a file without a digest', /has no digest for/, (toc) => Reflect.deleteProperty(changed(toc), 'digest')],
    ['a digest of something else', /does not have the digest/, (toc) => (changed(toc).digest = `sha256:${'1'.repeat(64)}`)],
    ['another size', /does not know \\"usr\/lib\/file-40\\"/, (toc) => (changed(toc).size = 20_001)],
    ['a size beyond all numbers', /has no digest for/, (toc) => (changed(toc).size = 1e300)],
    ['a place before the blob', /does not tell where/, (toc) => (changed(toc).offset = -1)],
    ['a place behind the blob', /does not tell where/, (toc) => (changed(toc).endOffset = 2 ** 52)],
    ['a place that is text', /does not tell where/, (toc) => Object.assign(changed(toc), { offset: '0' })],
    ['chunks that overlap', /overlap or are out of order/, (toc) => (changed(toc).offset = 0)],
    ['a chunk that ends too early', /cannot be unpacked|unpacks to/, (toc) => (changed(toc).endOffset = (changed(toc).offset ?? 0) + 100)],
    [
      'chunks that are less than the file',
      /has 10 of the 20000 bytes/,
      (toc) => {
        const first = Object.assign(changed(toc), { chunkSize: 5, chunkDigest: changed(toc).digest ?? '' });
        toc.entries.splice(toc.entries.indexOf(first) + 1, 0, { ...first, type: 'chunk', chunkOffset: 5 });
      },
    ],
    ['zeros that are none', /DiffID/, (toc) => void Object.assign(changed(toc), { chunkType: 'zeros' })],
    ['another tar-split', /another digest than its table of contents says/, (toc) => (toc.tarSplitDigest = `sha256:${'2'.repeat(64)}`)],
  ];
  for (const [what, why, retell] of LIES)
    it(`[J39] whose table of contents tells of ${what}`, async () => await retold(why, ({ toc }) => retell(toc)));

  it('[J39] without a tar-split', async () => {
    const place = 'io.github.containers.zstd-chunked.tarsplit-position';
    await retold(/has no tar-split/, (_, layer) => void Reflect.deleteProperty(layer.annotations, place));
  });

  it('[J39] whose tar-split makes another archive', async () => {
    await retold(/DiffID|tar/, (tables) => (tables.tarSplit = tables.tarSplit.replace('"usr/lib/file-3"', '"usr/lib/file-4"')));
  });

  it('[J39] whose tar-split is broken', async () => {
    await retold(/its tar-split holds/, (tables) => (tables.tarSplit = tables.tarSplit.slice(0, 10_000)));
  });

  const POSITIONS: readonly (readonly [what: string, place: string, why: RegExp])[] = [
    ['a place that is none', 'here', /is no place in it/],
    ['a place behind the blob', '1:999999999:10:1', /is no place in it/],
    ['a bomb', '1:10:999999999:1', /unpacks to 999999999 bytes/],
    ['another kind', '1:10:10:2', /of an unknown kind/],
    ['another place', '1:10:10:1', /another digest/],
  ];
  for (const [what, place, why] of POSITIONS)
    it(`[J39] whose annotations tell of ${what}`, async () => {
      await retold(why, (_, layer) => (layer.annotations['io.github.containers.zstd-chunked.manifest-position'] = place));
    });

  it('[I48] and refused, if the blob itself is damaged; nothing stays', async () => {
    await put('damaged', [...VERSION_1, file('usr/lib/more', noise(250, 20_000))]);
    await pull(parts, 'one');
    const layer = layerOf('damaged');
    const blob = readFileSync(storage.blobFile(layer.digest));
    const { offset = 0 } = tablesOf(blob, layer).toc.entries.find((entry) => entry.name === 'usr/lib/more') ?? {};
    writeFileSync(storage.blobFile(layer.digest), blob.fill(0, offset + 100, offset + 200));
    await assert.rejects(pull(parts, 'damaged'), (error) => /blob digest mismatch/.test(textOf(error)));
    assert.equal(parts.layers().length, 1);
  });
});

describe('with use_hard_links', () => {
  const unlinked = (lines: readonly string[]) => lines.map((line) => line.replace(/ links=\d+/, ''));
  const inode = (layer: HexId, path: string) => statSync(join(parts.store.layerDiffDirectory(layer), path)).ino;

  it('[J39, p65] a file has the inode of the other layer, unless its header says something else', async () => {
    await parts.configure({ partialImages: true, hardLinks: true });
    const below = await pull(parts, 'one');
    const before = treeOf(parts, below);
    const layer = await pull(parts, 'two');
    for (const path of ['usr/lib/file-0', 'usr/big', 'usr/setuid', 'usr/ping', 'usr/attributes'])
      assert.equal(inode(layer, path), inode(below, path), path);
    for (const path of ['usr/lib/file-11', 'usr/lib/file-12', 'usr/lib/file-40'])
      assert.notEqual(inode(layer, path), inode(below, path), path);
    await pull(whole, 'two');
    assert.deepEqual(unlinked(treeOf(parts, layer)), unlinked(treeOf(whole, layer)));
    await parts.images.remove(name('two'));
    assert.deepEqual(treeOf(parts, below), before, 'the other layer is as it was');
    assert.ok(existsSync(join(parts.store.layerDiffDirectory(below), 'usr/big')));
  });

  it('[J39] a tar-split that hides a part of a file in another does not cut it', async () => {
    await put('cut', [...VERSION_1, file('usr/whole', Buffer.concat([noise(109, 20_000), noise(108, 30_000)]))]);
    putRetold(storage, { repository: 'cut', tag: 'latest' }, 'retold', (tables) => {
      const lines = tables.tarSplit.trimEnd().split('\n');
      const at = (path: string) => lines.findIndex((line) => line.includes(`"name":"${path}"`));
      const raw = JSON.stringify({ type: 2, payload: noise(109, 20_000).toString('base64'), position: 0 });
      lines.splice(at('usr/whole'), 1, raw, lines[at('usr/tail')] ?? '');
      tables.tarSplit = `${lines.join('\n')}\n`;
    });
    await parts.configure({ partialImages: true, hardLinks: true });
    await pull(parts, 'one');
    const layer = await pull(parts, 'retold');
    assert.match(parts.logged, / bytes fetched, 89 of 89 files were in the store/);
    await pull(whole, 'retold');
    assert.deepEqual(unlinked(treeOf(parts, layer)), unlinked(treeOf(whole, layer)));
  });

  const HOSTILE: readonly (readonly [what: string, members: readonly Member[]])[] = [
    ['a link with another mode', [hardLink('evil', 'usr/lib/file-0', { mode: 0o4755 })]],
    ['a link with another owner', [hardLink('evil', 'usr/lib/file-0', { uid: 1000, mtime: 1_600_000_000 })]],
    ['a link with capabilities', [hardLink('evil', 'usr/lib/file-0', { mtime: 1_600_000_000, pax: [['SCHILY.xattr.user.evil', 'x']] })]],
    [
      'a directory whose place a file takes',
      [symlink('way', 'usr/lib'), dir('way/file-99/', { mtime: 99 }), file('usr/lib/file-99', noise(0, 20_000), { mtime: 1_600_000_000 })],
    ],
  ];
  for (const [what, members] of HOSTILE)
    it(`[J39] ${what} does not change the other layer`, async () => {
      await put('hostile', [...VERSION_1, ...members]);
      await parts.configure({ partialImages: true, hardLinks: true });
      const below = await pull(parts, 'one');
      const before = treeOf(parts, below);
      const layer = await pull(parts, 'hostile');
      assert.match(parts.logged, /is fetched as a whole: .*would change a file that another layer has too/);
      assert.deepEqual(treeOf(parts, below), before);
      await assertEqual(layer, 'hostile');
    });
});

describe('on a file system with reflinks', { skip: mkfs === undefined && 'no XFS' }, () => {
  const mountPoint = join(whole.dir, 'xfs');
  let onXfs: ImageFixture;

  before(async () => {
    const image = join(whole.dir, 'xfs.img');
    const script =
      'truncate -s 320M "$0"; mkdir "$1"; point=$1; image=$0; shift; "$@" -q -m reflink=1 "$image"; mount -o loop "$image" "$point"';
    execFileSync('sh', ['-euc', script, image, mountPoint, ...(mkfs ?? [])], { env: { PATH: toolPath } });
    onXfs = new ImageFixture(mountPoint);
    await onXfs.start();
    await onXfs.configure({ partialImages: true }, `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`);
  });

  after(async () => {
    await onXfs.end();
    execFileSync('umount', ['-l', mountPoint]);
  });

  it('[J39, p65] files of other layers are clones, with what their own headers say', async () => {
    const below = await pull(onXfs, 'one');
    const layer = await pull(onXfs, 'two');
    const isShared = (path: string) => {
      const file = join(onXfs.store.layerDiffDirectory(layer), path);
      return /\bshared\b/.test(execFileSync('filefrag', ['-v', '-s', file], { encoding: 'utf8', env: { PATH: toolPath } }));
    };
    for (const path of ['usr/lib/file-0', 'usr/lib/file-11', 'usr/lib/renamed', 'usr/big', 'usr/holes']) assert.ok(isShared(path), path);
    assert.ok(!isShared('usr/lib/file-40'));
    for (const [each, repository] of [
      [below, 'one'],
      [layer, 'two'],
    ] as const) {
      assert.equal(await pull(whole, repository), each);
      assert.deepEqual(treeOf(onXfs, each), treeOf(whole, each));
    }
  });
});
