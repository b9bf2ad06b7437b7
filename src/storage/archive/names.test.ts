import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { cleanName, toPath, toText } from './names.ts';

test('names are cleaned as Go does, the root and the leading .. told apart', () => {
  for (const [name, key, path] of [
    ['./', '.', ''],
    ['.', '.', ''],
    ['', '.', ''],
    ['/', '/', ''],
    ['//', '/', ''],
    ['a/..', '.', ''],
    ['./a//b/', 'a/b', 'a/b'],
    ['/a', '/a', 'a'],
    ['../../etc/x', '../../etc/x', 'etc/x'],
    ['/../x', '/x', 'x'],
    ['..', '..', ''],
    ['a/...', 'a/...', 'a/...'],
    ['.a/..b', '.a/..b', '.a/..b'],
  ] as const) {
    const cleaned = cleanName(name);
    assert.deepEqual([cleaned.key, cleaned.path], [key, path === '' ? cleaned.path : path], JSON.stringify(name));
    assert.equal(cleaned.path === '', path === '', JSON.stringify(name));
  }
  assert.deepEqual(cleanName('usr/lib/x'), { key: 'usr/lib/x', path: 'usr/lib/x', parent: 'usr/lib', base: 'x' });
  assert.deepEqual(cleanName('/x'), { key: '/x', path: 'x', parent: '', base: 'x' });
});

test('[a39] whatever the name, its path stays below the root', () => {
  const parts = fc.array(fc.constantFrom('..', '.', '', 'a', 'b', '...', '.wh.x', '\xff'), { maxLength: 8 });
  fc.assert(
    fc.property(parts, (names) => {
      const name = names.join('/');
      const { path, parent, base } = cleanName(name);
      assert.equal(path, posix.normalize(`/${name}`).replace(/^\/+/, '').replace(/\/$/, ''));
      assert.equal(parent === '' ? base : `${parent}/${base}`, path);
      assert.ok(!path.split('/').includes('..'));
    }),
  );
});

test('[a82] bytes that are not UTF-8 survive', () => {
  assert.equal(toPath('plain'), 'plain');
  assert.deepEqual(toPath('a\xffb'), Buffer.from([0x61, 0xff, 0x62]));
  assert.equal(toText(Buffer.from('grün').toString('latin1')), 'grün');
});
