import assert from 'node:assert/strict';
import { test } from 'node:test';
import { spaceOf, unpackLimits } from './limits.ts';

test('[a41] a layer may unpack to what is free and what its blob can hold in earnest', () => {
  const roomy = { free: 1e15, total: 2e15 };
  assert.equal(unpackLimits(roomy, 1000).maxDiffBytes, 1024 ** 3 + 10_000_000);
  assert.equal(unpackLimits(roomy, -1).maxDiffBytes, 1e15 - 6e13);
  assert.equal(unpackLimits({ free: 50e9, total: 100e9 }, 40e9).maxDiffBytes, 47e9);
  assert.equal(unpackLimits({ free: 1e9, total: 100e9 }, 1000).maxDiffBytes, 0);
});

test('a file system that does not tell its size bounds nothing', async () => {
  const space = await spaceOf('/proc'); // It has no blocks, as ramfs.
  assert.equal(unpackLimits(space, -1).maxDiffBytes, Number.POSITIVE_INFINITY);
  assert.equal(unpackLimits(space, 1000).maxDiffBytes, 1024 ** 3 + 10_000_000);
});
