import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import {
  E,
  O,
  getXattr,
  listXattr,
  makeDevice,
  mkdirAllInRoot,
  mknodAt,
  openInRoot,
  openRoot,
  orThrow,
  readFileInRoot,
  removeXattr,
  setXattr,
  setXattrAt,
  statAt,
  statOrThrow,
  tryOpenInRoot,
  writeFileInRoot,
} from './index.ts';

const asRoot = { skip: process.getuid?.() === 0 ? false : 'needs root' };

/** A root with an outside beside it that nothing may touch. */
function roots(t: TestContext): { root: string; outside: string } {
  const base = mkdtempSync(join(tmpdir(), 'inroot-'));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const root = join(base, 'root');
  const outside = join(base, 'outside');
  mkdirSync(root);
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'secret');
  return { root, outside };
}

test('[a38] [a78] links and .. resolve inside the root, for reading and for writing', (t) => {
  const { root, outside } = roots(t);
  using fd = openRoot(root);
  mkdirSync(join(root, 'etc'));
  symlinkSync(join(outside, 'secret'), join(root, 'absolute'));
  symlinkSync('../outside/secret', join(root, 'relative'));
  symlinkSync('../../../../../etc/inside', join(root, 'clamped'));
  assert.equal(readFileInRoot(fd.fd, '/absolute'), undefined);
  assert.equal(readFileInRoot(fd.fd, 'relative'), undefined);
  assert.equal(readFileInRoot(fd.fd, '../outside/secret'), undefined);
  assert.throws(() => writeFileInRoot(fd.fd, 'absolute', 'x'), { code: 'EEXIST' });
  writeFileSync(join(root, 'etc/inside'), 'old content');
  writeFileInRoot(fd.fd, '/clamped', 'new');
  assert.equal(readFileSync(join(root, 'etc/inside'), 'utf8'), 'new');
  assert.equal(readFileInRoot(fd.fd, 'clamped')?.toString(), 'new');
  assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'secret');
});

test('[a38] a magic link is not followed', (t) => {
  const { root } = roots(t);
  using fd = openRoot(root);
  symlinkSync('/proc/self/root', join(root, 'magic'));
  assert.equal(tryOpenInRoot(fd.fd, 'magic/etc', O.PATH), undefined);
  using proc = openRoot('/proc');
  assert.throws(() => openInRoot(proc.fd, 'self/root/etc', O.PATH), { code: 'ELOOP' });
});

test('modes and owners of what is made are exact, whatever the umask; what exists keeps its own', asRoot, (t) => {
  const { root } = roots(t);
  using fd = openRoot(root);
  writeFileInRoot(fd.fd, 'new', 'x', { mode: 0o4666, owner: { uid: 7, gid: 8 } });
  const made = statSync(join(root, 'new'));
  assert.deepEqual([made.mode & 0o7777, made.uid, made.gid], [0o4666, 7, 8]);
  writeFileInRoot(fd.fd, 'new', 'shorter');
  assert.equal(statSync(join(root, 'new')).mode & 0o777, 0o666);
  mkdirSync(join(root, 'a'), 0o700);
  using dir = mkdirAllInRoot(fd.fd, 'a/b/c', 0o777, { uid: 5, gid: 6 });
  assert.equal(statOrThrow(dir.fd).mode & 0o7777, 0o777);
  assert.equal(statSync(join(root, 'a')).mode & 0o7777, 0o700);
  assert.deepEqual([statSync(join(root, 'a/b')).uid, statSync(join(root, 'a/b/c')).gid], [5, 6]);
});

test('directories are made through links, also dangling ones, and never outside', (t) => {
  const { root, outside } = roots(t);
  using fd = openRoot(root);
  symlinkSync('/data/app', join(root, 'app'));
  symlinkSync(outside, join(root, 'out'));
  mkdirAllInRoot(fd.fd, '/app/x/../y')[Symbol.dispose]();
  assert.ok(statSync(join(root, 'data/app/y')).isDirectory());
  mkdirAllInRoot(fd.fd, 'out/made')[Symbol.dispose]();
  assert.ok(!existsSync(join(outside, 'made')));
  assert.ok(existsSync(join(root, outside, 'made')));
  mkdirAllInRoot(fd.fd, '../../up')[Symbol.dispose]();
  assert.ok(existsSync(join(root, 'up')));
  writeFileSync(join(root, 'file'), '');
  assert.throws(() => mkdirAllInRoot(fd.fd, 'file/x'), { code: 'ENOTDIR' });
});

test('a link that leads to itself ends', (t) => {
  const { root } = roots(t);
  using fd = openRoot(root);
  symlinkSync('loop', join(root, 'loop'));
  symlinkSync('b/c', join(root, 'a'));
  symlinkSync('a/d', join(root, 'b'));
  assert.throws(() => mkdirAllInRoot(fd.fd, 'loop/x'), { code: 'ELOOP' });
  assert.throws(() => mkdirAllInRoot(fd.fd, 'a'), { code: 'ELOOP' });
  assert.throws(() => readFileInRoot(fd.fd, 'loop'), { code: 'ELOOP' });
});

test('only regular files are read, and no more of them than asked for', asRoot, (t) => {
  const { root } = roots(t);
  using fd = openRoot(root);
  execFileSync('mkfifo', [join(root, 'fifo')]);
  orThrow(mknodAt(fd.fd, 'null', 0o020666, makeDevice(1, 3) ?? 0n), 'mknod', 'null');
  for (const name of ['fifo', 'null', '/']) assert.throws(() => readFileInRoot(fd.fd, name), { code: 'EINVAL' });
  assert.throws(() => writeFileInRoot(fd.fd, 'fifo', 'x'), { code: 'EINVAL' });
  writeFileSync(join(root, 'big'), Buffer.alloc(100_001, 1));
  assert.throws(() => readFileInRoot(fd.fd, 'big', 100_000), { kind: 'ResourceExhausted', code: 'EFBIG' });
  assert.equal(readFileInRoot(fd.fd, 'big', 100_001)?.length, 100_001);
});

test('[a82] names that are not UTF-8, and NUL', (t) => {
  const { root } = roots(t);
  using fd = openRoot(root);
  const name = Buffer.from([0x61, 0xff, 0x62]);
  writeFileInRoot(fd.fd, name, 'x');
  assert.ok(lstatSync(Buffer.concat([Buffer.from(`${root}/`), name])).isFile());
  assert.throws(() => writeFileInRoot(fd.fd, 'a\0b', 'x'), { code: 'EINVAL' });
  assert.throws(() => writeFileInRoot(fd.fd, Buffer.from('a\0'), 'x'), { code: 'EINVAL' });
});

test('extended attributes', asRoot, (t) => {
  const { root } = roots(t);
  using fd = openRoot(root);
  writeFileSync(join(root, 'file'), '');
  symlinkSync('file', join(root, 'link'));
  assert.equal(setXattrAt(fd.fd, 'file', 'trusted.a', Buffer.from([1, 0, 2])), 0);
  assert.equal(setXattrAt(fd.fd, 'link', 'trusted.b', Buffer.alloc(0)), 0);
  assert.equal(setXattr(join(root, 'file'), 'trusted.long', Buffer.alloc(1000, 7)), 0);
  assert.deepEqual(getXattr(join(root, 'file'), 'trusted.a'), Buffer.from([1, 0, 2]));
  assert.deepEqual(getXattr(join(root, 'file'), 'trusted.long'), Buffer.alloc(1000, 7));
  assert.deepEqual(listXattr(join(root, 'link')), ['trusted.b']);
  assert.equal(removeXattr(join(root, 'file'), 'trusted.a'), 0);
  assert.equal(getXattr(join(root, 'file'), 'trusted.a'), E.NODATA);
  assert.throws(() => setXattrAt(fd.fd, 'a/b', 'trusted.a', Buffer.alloc(0)), RangeError);
});

test('device numbers as the kernel packs them', asRoot, (t) => {
  const { root } = roots(t);
  using fd = openRoot(root);
  assert.equal(makeDevice(4096, 0), undefined);
  assert.equal(makeDevice(-1, 0), undefined);
  for (const [major, minor] of [
    [0, 0],
    [1, 3],
    [259, 1_048_575],
    [4095, 256],
  ] as const) {
    orThrow(mknodAt(fd.fd, `${major}.${minor}`, 0o020600, makeDevice(major, minor) ?? -1n), 'mknod', `${major}.${minor}`);
    const stat = statAt(fd.fd, `${major}.${minor}`);
    assert.ok(typeof stat !== 'number');
    assert.deepEqual([stat.major, stat.minor], [major, minor]);
  }
});
