import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { archive, dir as directory, file, hardLink, symlink } from '../../../test/fixtures/tar-writer.ts';
import { Unpacker, pack } from './index.ts';

const base = mkdtempSync(join(tmpdir(), 'crio-cp-'));
after(() => rmSync(base, { recursive: true }));
const END = Buffer.alloc(1024);

function unpack(target: string, bytes: Buffer): string[] {
  const leftOut: string[] = [];
  const unpacker = new Unpacker(target, (name, why) => leftOut.push(`${name}: ${why}`));
  unpacker.push(Buffer.concat([bytes, END]));
  unpacker.close();
  return leftOut;
}

test('[a64] nothing that comes out of a container is written beside the target, whatever it is called and whatever it is', () => {
  const target = join(base, 'hostile', 'target');
  mkdirSync(join(base, 'hostile'));
  writeFileSync(join(base, 'hostile', 'canary'), 'safe');
  const elsewhere = 'its name leads elsewhere';
  const other = 'it is neither a file nor a directory';
  const left = unpack(
    target,
    archive(
      directory('top/'),
      file('top/../../canary', 'pwned'),
      file('../canary', 'pwned'),
      symlink('top/link', '../..'),
      file('top/link/canary', 'pwned'),
      hardLink('top/hard', 'top/inside'),
      file('/top/absolute', 'below'),
      file('top/set', 'x', { mode: 0o6755 }),
      file('', 'x'),
    ),
  );
  assert.equal(readFileSync(join(base, 'hostile', 'canary'), 'utf8'), 'safe');
  assert.deepEqual(left, [
    `top/../../canary: ${elsewhere}`,
    `../canary: ${elsewhere}`,
    `top/link: ${other}`,
    `top/hard: ${other}`,
    `: ${elsewhere}`,
  ]);
  assert.deepEqual(readdirSync(target).toSorted(), ['absolute', 'link', 'set']);
  assert.ok(lstatSync(join(target, 'link')).isDirectory());
  assert.equal(statSync(join(target, 'set')).mode & 0o7777, 0o755);
});

test('[a64] a link that is there already is not written through', () => {
  const target = join(base, 'linked');
  mkdirSync(target);
  writeFileSync(join(base, 'outside'), 'safe');
  symlinkSync(join(base, 'outside'), join(target, 'file'));
  assert.throws(() => unpack(target, archive(file('top/file', 'pwned'))), { code: 'ELOOP' });
  assert.equal(readFileSync(join(base, 'outside'), 'utf8'), 'safe');
});

test('what we pack, tar and we unpack: trees, links, long names, modes', async () => {
  const tree = join(base, 'tree');
  const long = 'n'.repeat(120);
  mkdirSync(join(tree, 'sub', long), { recursive: true });
  writeFileSync(join(tree, 'sub', long, 'ä file'), Buffer.alloc(3000, 'x'));
  writeFileSync(join(tree, 'run'), '#!');
  chmodSync(join(tree, 'run'), 0o755);
  symlinkSync(`sub/${long}`, join(tree, 'link'));
  const parts: Buffer[] = [];
  for await (const part of pack(tree, 'new')) parts.push(part);
  const bytes = Buffer.concat(parts);
  mkdirSync(join(base, 'by-tar'));
  execFileSync('tar', ['xf', '-', '-C', join(base, 'by-tar')], { input: bytes });
  execFileSync('diff', ['-r', tree, join(base, 'by-tar', 'new')]);
  assert.equal(statSync(join(base, 'by-tar/new/run')).mode & 0o777, 0o755);
  assert.ok(lstatSync(join(base, 'by-tar/new/link')).isSymbolicLink());
  const left = unpack(join(base, 'by-us'), bytes);
  assert.deepEqual(left, ['new/link: it is neither a file nor a directory']);
  assert.ok(existsSync(join(base, 'by-us', 'sub', long, 'ä file')));
});
