import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256 } from '../../../ids/index.ts';
import { BlobSource } from '../blob-source.ts';
import { RangeReader, joined } from './ranges.ts';

const range = (start: number, end: number) => ({ start, end });

test('ranges that are near each other become one, others stay apart', () => {
  assert.deepEqual(joined([range(0, 10), range(10, 20), range(2000, 3000), range(90_000, 90_001)]), [
    range(0, 3000),
    range(90_000, 90_001),
  ]);
  assert.deepEqual(joined([]), []);
});

test('there are never more than 128', () => {
  const far = Array.from({ length: 1000 }, (_, index) => range(index * 100_000, index * 100_000 + 10));
  const few = joined(far);
  assert.ok(few.length > 0 && few.length <= 128, String(few.length));
  assert.deepEqual([few[0]?.start, few.at(-1)?.end], [0, 99_900_010]);
});

test('ranges that overlap, run backwards or out of order are refused', () => {
  for (const ranges of [[range(0, 10), range(9, 20)], [range(10, 20), range(0, 5)], [range(10, 5)]])
    assert.throws(() => joined(ranges), { code: 'UNSUITABLE' });
});

test('a reader finds places by their offset in the blob, over pieces and gaps, and gives every piece back', async () => {
  const blob = Buffer.from(Array.from({ length: 1000 }, (_, index) => index % 251));
  const ranges = [range(100, 300), range(500, 510), range(700, 1000)];
  const fetched = Buffer.concat(ranges.map(({ start, end }) => blob.subarray(start, end)));
  for (const size of [1, 7, 200, 1000]) {
    let back = 0;
    const source = new BlobSource({ blobDigest: sha256(blob), decryption: undefined }, ({ bytes }) => (back += bytes.length));
    for (let at = 0; at < fetched.length; at += size) source.push({ bytes: fetched.subarray(at, at + size) });
    source.end();
    const reader = new RangeReader(source, ranges);
    for (const [offset, length] of [
      [100, 5],
      [120, 180],
      [503, 2],
      [700, 1],
      [701, 100],
      [990, 10],
    ] as const)
      assert.deepEqual(await reader.take(offset, length), blob.subarray(offset, offset + length), `${offset} in pieces of ${size}`);
    await assert.rejects(reader.take(1000, 1), { code: 'BAD_ARCHIVE' });
    assert.equal(back, fetched.length);
  }
});
