import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseExactJson, stringifyExactJson } from './index.ts';

test('[a81] 64-bit integers survive reading and writing', () => {
  const text = '{"limit":9223372036854775807,"swap":-9223372036854775808,"u":18446744073709551615,"small":1,"f":1.5}';
  const value = parseExactJson(text);
  assert.deepEqual(value, { limit: 2n ** 63n - 1n, swap: -(2n ** 63n), u: 2n ** 64n - 1n, small: 1, f: 1.5 });
  assert.equal(stringifyExactJson(value), text);
  fc.assert(
    fc.property(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
      (n) => BigInt(parseExactJson(stringifyExactJson(n)) as number | bigint) === n,
    ),
  );
});

test('strings are escaped as Go escapes them, and parse back', () => {
  assert.equal(stringifyExactJson({ a: 'x>&2<\u2028' }), '{"a":"x\\u003e\\u00262\\u003c\\u2028"}');
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (s) => parseExactJson(stringifyExactJson(s)) === s));
});
