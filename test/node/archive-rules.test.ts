import assert from 'node:assert/strict';
import { existsSync, lstatSync, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { after, test } from 'node:test';
import { getXattr, listXattr, setXattr } from '../../src/linux/index.ts';
import { silentLogger } from '../../src/log/index.ts';
import { LayerUnpacker } from '../../src/storage/index.ts';
import { type Member, archive, dir, file, gnuLong, hardLink, symlink } from '../fixtures/tar-writer.ts';
import { inside as unpackInside, made } from '../harness/layer-case.ts';
import { Workplace, unpack } from '../harness/trees.ts';

const unpacker = new LayerUnpacker({ log: silentLogger, maxThreads: 2 });
after(() => unpacker.close());
const inside = unpackInside.bind(undefined, unpacker);

test('[a39] .. and absolute names are clamped to the layer; the entry for the root itself is ignored, one named / is not', async () => {
  {
    using result = await inside([
      dir('./', { mode: 0o711, uid: 9 }),
      file('../../etc/x', 'x'),
      file('/abs', 'y'),
      file('a/../b', 'z'),
      file('a/./c//d'),
    ]);
    for (const path of ['etc/x', 'abs', 'b', 'a/c/d']) assert.ok(statSync(made(result, path)).isFile(), path);
    assert.deepEqual([statSync(made(result)).mode & 0o7777, statSync(made(result)).uid], [0o555, 0]);
    assert.deepEqual([statSync(made(result, 'a/c')).mode & 0o7777, statSync(made(result, 'etc')).mode & 0o7777], [0o755, 0o755]);
  }
  using result = await inside([dir('/', { mode: 0o711, uid: 9, mtime: 1000 })]);
  const root = statSync(made(result));
  assert.deepEqual([root.mode & 0o7777, root.uid, root.mtimeMs], [0o711, 9, 1_000_000]);
});

test('[a38] [a39] links as parents lead inside the layer, never out of it', async () => {
  using absolute = await inside([symlink('out', '/../../outside'), dir('outside'), file('out/new', 'x')]);
  assert.equal(readFileSync(made(absolute, 'outside/new'), 'utf8'), 'x');
  using relative = await inside([symlink('up', '../../../..'), file('up/x', 'x')]);
  assert.equal(readFileSync(made(relative, 'x'), 'utf8'), 'x');
  using dangling = await inside([symlink('gone', '/nowhere'), file('gone/x', 'x')]);
  assert.equal(dangling.error?.code, 'ENOENT');
  using chain = await inside([symlink('a', 'b'), symlink('b', 'c/..'), dir('c'), file('a/x', 'x')]);
  assert.equal(readFileSync(made(chain, 'x'), 'utf8'), 'x');
  using loop = await inside([symlink('l', 'l'), file('l/x')]);
  assert.equal(loop.error?.code, 'ELOOP');
  using proc = await inside([symlink('p', '/proc/self/root'), file('p/x')]);
  assert.equal(proc.error?.code, 'ENOENT');
});

test('[a38] [a39] a link is replaced, not followed, by the entry of its name, and its target keeps mode, owner and contents', async () => {
  const target = (place: Workplace) => place.path('outside/secret');
  for (const last of [
    file('x', 'overwritten', { mode: 0o4777, uid: 5 }),
    dir('x', { mode: 0o777 }),
    hardLink('x', 'f'),
    { name: 'x', type: '3', major: 1, minor: 3, mode: 0o666 },
    { name: 'x', type: '6', mode: 0o666 },
  ] satisfies Member[]) {
    // The link gets its name by way of another link, since equal names are refused.
    using result = await inside([file('f'), symlink('d', '.'), symlink('x', '../outside/secret'), { ...last, name: 'd/x' }]);
    assert.ok(!lstatSync(made(result, 'x')).isSymbolicLink());
    assert.equal(readFileSync(target(result.place), 'utf8'), 'secret');
  }
});

test('[a39] hard links: to files, links and devices of the layer, never to what lies outside or to directories', async () => {
  using fine = await inside([
    file('f', 'x', { mode: 0o640, uid: 3 }),
    symlink('s', '/etc/passwd'),
    hardLink('f2', './f', { mode: 0o640, uid: 3 }),
    hardLink('s2', 's', { mode: 0o777 }),
    hardLink('up', '../../f', { mode: 0o640, uid: 3 }),
  ]);
  assert.equal(statSync(made(fine, 'f')).nlink, 3);
  assert.equal(readlinkSync(made(fine, 's2')), '/etc/passwd');
  assert.equal(statSync(made(fine, 'f')).mode & 0o7777, 0o640);
  for (const [target, code] of [
    ['../outside/secret', 'ENOENT'],
    ['/etc/passwd', 'ENOENT'],
    ['d', 'EPERM'],
    ['.', 'EPERM'],
    ['', 'EPERM'],
    ['l', 'ENOENT'],
  ] as const) {
    using refused = await inside([dir('d'), symlink('o', '../outside'), hardLink('l', target)]);
    assert.equal(refused.error?.code, code, target);
  }
  using through = await inside([symlink('o', '../outside'), hardLink('l', 'o/secret')]);
  assert.equal(through.error?.code, 'ENOENT');
  using later = await inside([hardLink('l', 'f'), file('f')]);
  assert.equal(later.error?.code, 'ENOENT');
});

test('an existing entry is replaced, with all below it; two directories are merged', async () => {
  using result = await inside(
    [
      symlink('same', '.'),
      dir('d', { mode: 0o700, uid: 1 }),
      file('d/kept', 'x'),
      dir('tree'),
      file('tree/sub/f', 'x'),
      dir('same/d', { mode: 0o750, uid: 2, mtime: 77 }),
      file('same/tree', 'now a file'),
      file('again', 'x'),
      dir('same/again'),
    ],
    { rebuild: false },
  );
  const merged = statSync(made(result, 'd'));
  assert.deepEqual([merged.mode & 0o7777, merged.uid, merged.mtimeMs], [0o750, 2, 77_000]);
  assert.ok(existsSync(made(result, 'd/kept')));
  assert.equal(readFileSync(made(result, 'tree'), 'utf8'), 'now a file');
  assert.ok(statSync(made(result, 'again')).isDirectory());
});

test('[a39] equal names fail the layer, however they are written', async () => {
  for (const [first, second] of [
    ['a', 'a'],
    ['a', './a'],
    ['d/', './d'],
    ['a/b', 'a//c/../b'],
  ] as const) {
    using result = await inside([file(first), file(second)]);
    assert.equal(result.error?.code, 'BAD_ARCHIVE');
    assert.match(result.error?.message ?? '', /duplicates of file paths not supported/);
  }
});

test('whiteouts become devices 0:0 and opaque directories an xattr, whatever type they have', async () => {
  using result = await inside([
    dir('d'),
    file('d/.wh.gone', '', { uid: 4, gid: 5 }),
    file('d/.wh..wh..opq'),
    file('new/.wh..wh..opq'),
    file('.wh..wh.plnk'),
    { name: '.wh.odd', type: '7' },
    file('.wh.dir'),
    file('dir/.wh.below'),
    file('dir/.wh..wh..opq', ''),
    file('uid', '', { uid: 6 }),
  ]);
  for (const [name, uid] of [
    ['d/gone', 4],
    ['.wh.plnk', 0],
    ['odd', 0],
    ['dir', 0],
  ] as const) {
    const stat = lstatSync(made(result, name));
    assert.deepEqual([stat.isCharacterDevice(), stat.rdev, stat.mode & 0o7777, stat.uid], [true, 0, 0, uid], name);
  }
  assert.deepEqual(getXattr(made(result, 'd'), 'trusted.overlay.opaque'), Buffer.from('y'));
  assert.deepEqual(getXattr(made(result, 'new'), 'trusted.overlay.opaque'), Buffer.from('y'));
  assert.deepEqual(readdirSync(made(result, 'd')), ['gone']);
  using place = new Workplace();
  const { uids, gids } = await unpack(
    unpacker,
    place,
    archive(file('.wh.x', '', { uid: 4, gid: 5 }), file('f', '', { uid: 6, gid: 7 }), dir('g', { uid: 3 })),
  );
  assert.deepEqual(
    [uids, gids],
    [
      [3, 6],
      [0, 7],
    ],
  );
});

test('[a39] whiteouts of the root, of .. and of what exists fail the layer', async () => {
  for (const members of [
    [file('.wh.')],
    [file('.wh..')],
    [file('.wh...')],
    [file('d/.wh...')],
    [file('x'), file('.wh.x')],
    [dir('d'), file('.wh.d')],
  ]) {
    using result = await inside(members);
    assert.equal(result.error?.code, 'EEXIST');
  }
  using linked = await inside([symlink('l', '../outside'), file('l/.wh..wh..opq')]);
  assert.ok(linked.error?.code === 'ENOENT');
});

test('[a39] xattrs: set after chown; SELinux labels and those that steer overlayfs are left out', async () => {
  const pax = [
    ['SCHILY.xattr.user.a', Buffer.from([0, 0xff, 0x0a])],
    ['SCHILY.xattr.user.empty', ''],
    ['SCHILY.xattr.trusted.b', '1'],
    ['SCHILY.xattr.security.selinux', 'system_u:object_r:etc_t:s0'],
    ['SCHILY.xattr.trusted.overlay.redirect', '/etc'],
    ['SCHILY.xattr.trusted.overlay.opaque', 'y'],
    ['SCHILY.xattr.trusted.overlay.metacopy', ''],
    ['LIBARCHIVE.xattr.user.c', 'x'],
    ['SCHILY.xattr.security.capability', Buffer.from('0100000200200000000000000000000000000000', 'hex')],
  ] as const;
  using result = await inside([file('f', 'x', { uid: 1000, mode: 0o6755, pax }), dir('d', { pax: pax.slice(0, 6) })]);
  assert.deepEqual(
    (listXattr(made(result, 'f')) as string[]).toSorted(),
    ['security.capability', 'trusted.b', 'user.a', 'user.empty'].toSorted(),
  );
  assert.deepEqual(getXattr(made(result, 'f'), 'user.a'), Buffer.from([0, 0xff, 0x0a]));
  assert.equal(statSync(made(result, 'f')).mode & 0o7777, 0o6755);
  assert.deepEqual((listXattr(made(result, 'd')) as string[]).toSorted(), ['trusted.b', 'user.a', 'user.empty']);
  using bad = await inside([file('f', '', { pax: [['SCHILY.xattr.', 'x']] })]);
  assert.ok(bad.error !== undefined);
});

test('times: nanoseconds are kept, those out of range become 1970, directories get theirs last', async () => {
  using result = await inside(
    [
      dir('d', { mtime: 100 }),
      file('d/f', 'x', {
        pax: [
          ['mtime', '5.000000007'],
          ['atime', '9.5'],
        ],
      }),
      file('past', '', { mtime: -5 }),
      file('far', '', { mtime: 2 ** 40 }),
      file('early', '', { mtime: 50, pax: [['atime', '3']] }),
    ],
    { rebuild: false },
  );
  const time = (path: string) => lstatSync(made(result, path), { bigint: true });
  assert.deepEqual([time('d/f').mtimeNs, time('d/f').atimeNs], [5_000_000_007n, 9_500_000_000n]);
  assert.deepEqual([time('d').mtimeNs, time('d').atimeNs, time('past').mtimeNs, time('far').mtimeNs], [100_000_000_000n, 0n, 0n, 0n]);
  assert.equal(time('early').atimeNs, 50_000_000_000n);
});

test('[a60] modes are exact and nothing of the umask remains, set-id bits and groups of set-gid directories included', async () => {
  using result = await inside([
    dir('group', { mode: 0o2777, gid: 50 }),
    file('group/f', 'x', { mode: 0o666 }),
    dir('group/d', { mode: 0o777 }),
    symlink('group/l', 'x'),
    file('group/implied/f'),
    file('suid', '', { mode: 0o7777, uid: 1 }),
  ]);
  for (const [path, mode, gid] of [
    ['group', 0o2777, 50],
    ['group/f', 0o666, 0],
    ['group/d', 0o777, 0],
    ['group/implied', 0o755, 0],
    ['suid', 0o7777, 0],
  ] as const) {
    const stat = statSync(made(result, path));
    assert.deepEqual([stat.mode & 0o7777, stat.gid], [mode, gid], path);
  }
  assert.equal(lstatSync(made(result, 'group/l')).gid, 0);
});

test('[a60] a default ACL, of the directory unpacked into or of one in the layer, takes nothing from modes', async (t) => {
  const acl = Buffer.from('0200000001000700ffffffff04000000ffffffff20000000ffffffff', 'hex'); // u::rwx,g::---,o::---
  using place = new Workplace();
  if (setXattr(place.diff, 'system.posix_acl_default', acl) < 0) {
    t.skip('this file system has no ACLs');
    return;
  }
  await unpack(unpacker, place, archive(file('f', '', { mode: 0o644 }), dir('d', { mode: 0o755 }), file('d/g', '', { mode: 0o755 })));
  using result = await inside([dir('d', { pax: [['SCHILY.xattr.system.posix_acl_default', acl]] }), file('d/g', '', { mode: 0o755 })]);
  const modes = [place.path('diff/f'), place.path('diff/d'), place.path('diff/d/g'), made(result, 'd/g')].map(
    (path) => statSync(path).mode & 0o7777,
  );
  assert.deepEqual(modes, [0o644, 0o755, 0o755, 0o755]);
});

test('ids are mapped to the host, unmapped and impossible ones fail the layer', async () => {
  const idMap = {
    uids: [{ containerId: 0, hostId: 100_000, size: 1000 }],
    gids: [
      { containerId: 0, hostId: 200_000, size: 10 },
      { containerId: 20, hostId: 5, size: 1 },
    ],
  };
  using result = await inside([file('a/f', '', { uid: 5, gid: 20 }), file('.wh.x', '', { uid: 1 })], { idMap });
  assert.deepEqual([statSync(made(result, 'a/f')).uid, statSync(made(result, 'a/f')).gid], [100_005, 5]);
  assert.deepEqual([statSync(made(result, 'a')).uid, statSync(made(result, 'a')).gid], [100_000, 200_000]);
  assert.equal(lstatSync(made(result, 'x')).uid, 100_001);
  for (const [one, map] of [
    [{ uid: 1000 }, idMap],
    [{ gid: 15 }, idMap],
    [{ uid: 2 ** 32 - 1 }, undefined],
    [{ gid: 2 ** 33 }, undefined],
    [{ uid: -1 }, undefined],
  ] as const) {
    using refused = await inside([file('f', '', one)], map === undefined ? {} : { idMap: map });
    assert.equal(refused.error?.code, 'EINVAL', JSON.stringify(one));
  }
});

test('[a39] types that no layer has are refused by their number; devices out of range too', async () => {
  for (const type of ['S', '7', 'V', 'M', 'X', 'D']) {
    using result = await inside([{ name: 'odd', type }]);
    assert.match(result.error?.message ?? '', new RegExp(`^odd: unhandled tar header type ${type.charCodeAt(0)}$`));
  }
  using device = await inside([{ name: 'dev', type: '3', major: 5000, minor: 1 }]);
  assert.equal(device.error?.code, 'EINVAL');
  using root = await inside([file('/', 'x')]);
  assert.equal(root.error?.code, 'EISDIR');
  using global = await inside([{ name: 'pax_global_header', type: 'g', contents: Buffer.from('11 a=bcdef\n') }, file('f')]);
  assert.deepEqual(readdirSync(made(global)), ['f']);
});

test('[a39] [a82] long and deep names: what the kernel cannot hold fails, what it can does not', async () => {
  using long = await inside([gnuLong('L', 'n'.repeat(5000)), file('x', '', { format: 'gnu' })]);
  assert.equal(long.error?.code, 'ENAMETOOLONG');
  using path = await inside([gnuLong('L', `${'d/'.repeat(3000)}f`), file('x', '', { format: 'gnu' })]);
  assert.equal(path.error?.code, 'ENAMETOOLONG');
  using nested = await inside([gnuLong('L', `${'d/'.repeat(600)}f`), file('x', 'deep', { format: 'gnu' })]);
  assert.equal(readFileSync(made(nested, `${'d/'.repeat(600)}f`), 'utf8'), 'deep');
  using target = await inside([gnuLong('K', 't'.repeat(5000)), symlink('x', 'x', { format: 'gnu' })]);
  assert.equal(target.error?.code, 'ENAMETOOLONG');
  using raw = await inside([file('raw\xff\x01', 'x'), file('gr\xc3\xbcn/"<&>\\', 'y'), symlink('l', '\xfe'), hardLink('h', 'raw\xff\x01')]);
  assert.equal(readFileSync(Buffer.concat([Buffer.from(`${made(raw)}/raw`), Buffer.from([0xff, 1])]), 'utf8'), 'x');
  assert.equal(readFileSync(made(raw, 'grün/"<&>\\'), 'utf8'), 'y');
});

test('[a39] a tree deeper than any path, made by way of links, can be replaced within one layer', async () => {
  const down = 'd/'.repeat(800);
  const members: (Member | Buffer)[] = [dir('top'), gnuLong('L', `top/${down}`), dir('x', { format: 'gnu' })];
  for (let i = 1; i < 5; i++) {
    const parent = i === 1 ? 'top' : `l${i - 1}`;
    members.push(
      gnuLong('K', `${parent}/${down}`),
      symlink(`l${i}`, 'x', { format: 'gnu' }),
      gnuLong('L', `l${i}/${down}`),
      dir('x', { format: 'gnu' }),
    );
  }
  members.push(symlink('same', '.'), file('same/top', 'small again'));
  using place = new Workplace();
  await unpack(unpacker, place, archive(...members)).catch((error: { code?: string; message: string }) => {
    // Times of directories are set last, and those that were replaced are not there any more.
    assert.ok(error.code === 'ENOENT' || error.code === 'ENOTDIR', error.message);
  });
  assert.ok(lstatSync(place.path('diff/top')).isFile());
  assert.deepEqual(
    readdirSync(place.diff).filter((name) => name.startsWith('.removed')),
    [],
  );
});
