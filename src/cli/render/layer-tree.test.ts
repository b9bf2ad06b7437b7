import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LayeredImage, layerTree } from './layer-tree.ts';
import { treeLines } from './tree.ts';

const id = (letter: string) => `sha256:${letter.repeat(64)}`;
const image = (name: string, layers: string, size: number): LayeredImage => ({
  id: 'f'.repeat(64),
  names: name === '' ? [] : [name],
  size: BigInt(size),
  diffIds: Array.from(layers, id),
});

test('images stand on the layers that they share, each named at its top layer', () => {
  const lines = treeLines(
    layerTree([
      image('base', 'ab', 4_000_000),
      image('web', 'abc', 5_000_000),
      image('db', 'abde', 9_000_000),
      image('', 'abd', 8_000_000),
      image('other', 'xyz', 1_000_000),
      image('empty', '', 0),
    ]),
  );
  assert.deepEqual(lines, [
    'no layers  empty [0B]',
    'bbbbbbbbbbbbb (2 layers)  base [4MB]',
    '├─ ccccccccccccc (1 layer)  web [5MB]',
    '└─ ddddddddddddd (1 layer)  fffffffffffff [8MB]',
    '   └─ eeeeeeeeeeeee (1 layer)  db [9MB]',
    'zzzzzzzzzzzzz (3 layers)  other [1MB]',
  ]);
});

test('one image, and the same layers in two images', () => {
  assert.deepEqual(treeLines(layerTree([image('a', 'a', 1), image('b', 'a', 1)])), ['aaaaaaaaaaaaa (1 layer)  a [1B]  b [1B]']);
  assert.deepEqual(treeLines(layerTree([])), []);
});
