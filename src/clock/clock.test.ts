import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GO_ZERO_TIME, fromRfc3339, toRfc3339 } from './index.ts';

test('times survive the way to text and back to the nanosecond', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }), (time) => {
      assert.equal(fromRfc3339(toRfc3339(time)), time);
    }),
  );
});

test("a time that has not come is Go's zero time, both ways", () => {
  assert.equal(toRfc3339(undefined), GO_ZERO_TIME);
  assert.equal(fromRfc3339(GO_ZERO_TIME), undefined);
});

test('times with an offset and without a fraction are read, other text is not', () => {
  assert.equal(fromRfc3339('2026-11-23T17:31:01+01:00'), fromRfc3339('2026-11-23T16:31:01Z'));
  for (const text of ['', 'yesterday', '2026-11-23', '2026-13-99T99:99:99Z']) assert.equal(fromRfc3339(text), undefined);
});
