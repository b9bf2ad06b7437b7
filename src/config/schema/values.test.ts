import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { boolCodec, durationCodec, intCodec, listCodec, unsignedCodec } from './codec.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { parseSize } from './size.ts';

test('[A6, B9] Go durations are read to milliseconds and written as Go writes them', () => {
  const cases: readonly (readonly [string, number, string])[] = [
    ['0', 0, '0s'],
    ['300ms', 300, '300ms'],
    ['1m', 60_000, '1m0s'],
    ['2h45m', 9_900_000, '2h45m0s'],
    ['1.5s', 1500, '1.5s'],
    ['.5s', 500, '500ms'],
    ['1µs', 0.001, '1µs'],
    ['2us', 0.002, '2µs'],
    ['7ns', 0.000007, '7ns'],
    ['-1s', -1000, '-1s'],
    ['+1h', 3_600_000, '1h0m0s'],
    ['1h0m0.25s', 3_600_250, '1h0m0.25s'],
  ];
  for (const [text, milliseconds, canonical] of cases) {
    assert.equal(parseDuration(text), milliseconds, text);
    assert.equal(formatDuration(milliseconds), canonical, text);
  }
  for (const wrong of ['', 'x', '1', '1d', 's', '.s', '1s ', '--1s', '1 s', '9999999999h', '-'])
    assert.equal(parseDuration(wrong), undefined, wrong);
  assert.deepEqual(durationCodec.fromToml(10_000_000_000n), { ok: true, value: 10_000 });
  assert.deepEqual(durationCodec.fromToml('10s'), { ok: true, value: 10_000 });
  assert.deepEqual(durationCodec.fromFlag('x'), { ok: false, problem: 'parse error' });
});

test('[B9] every duration of whole microseconds below a month survives being written and read', () => {
  fc.assert(
    fc.property(fc.integer({ min: -2_592_000_000_000, max: 2_592_000_000_000 }), (microseconds) => {
      assert.equal(parseDuration(formatDuration(microseconds / 1000)), microseconds / 1000);
    }),
  );
});

test('[A5] integers are decimal, 0x, 0o, 0b, and tell a wrong form from a value out of range', () => {
  const cases: readonly (readonly [string, number])[] = [
    ['42', 42],
    ['-7', -7],
    ['0x1F', 31],
    ['0o17', 15],
    ['017', 15],
    ['0b101', 5],
    ['1_000', 1000],
    ['0', 0],
  ];
  for (const [text, value] of cases) assert.deepEqual(intCodec.fromFlag(text), { ok: true, value }, text);
  for (const text of ['foo', '', '1.5', '0x', '08', '0b2', '1__0', '1_', ' 1']) {
    assert.deepEqual(intCodec.fromFlag(text), { ok: false, problem: 'parse error' }, text);
  }
  assert.deepEqual(intCodec.fromFlag('9223372036854775808'), { ok: false, problem: 'value out of range' });
  assert.deepEqual(intCodec.fromFlag('9223372036854775807'), { ok: true, value: Number.MAX_SAFE_INTEGER });
  assert.deepEqual(unsignedCodec.fromToml(-1n), { ok: false, problem: '-1 is out of range for uint64' });
});

test('[A4] booleans are the twelve words of Go, nothing else', () => {
  for (const text of ['1', 't', 'T', 'TRUE', 'true', 'True']) assert.deepEqual(boolCodec.fromFlag(text), { ok: true, value: true });
  for (const text of ['0', 'f', 'F', 'FALSE', 'false', 'False']) assert.deepEqual(boolCodec.fromFlag(text), { ok: true, value: false });
  for (const text of ['yes', 'tRUE', '', 'on']) assert.deepEqual(boolCodec.fromFlag(text), { ok: false, problem: 'parse error' });
});

test('[A9, A10] lists are split at commas and trimmed', () => {
  assert.deepEqual(listCodec.fromFlag(' a , b,c'), { ok: true, value: ['a', 'b', 'c'] });
  assert.deepEqual(listCodec.fromEnvironment('a, b'), { ok: true, value: ['a', 'b'] });
});

test('sizes have binary units', () => {
  const cases: readonly (readonly [string, number])[] = [
    ['1024', 1024],
    ['500KiB', 512_000],
    ['500k', 512_000],
    ['12MiB', 12_582_912],
    ['12 mb', 12_582_912],
    ['1.5G', 1_610_612_736],
    ['3b', 3],
  ];
  for (const [text, bytes] of cases) assert.deepEqual(parseSize(text), { bytes }, text);
  assert.deepEqual(parseSize('x'), { problem: "invalid size: 'x'" });
  assert.deepEqual(parseSize('1x'), { problem: "invalid suffix: 'x'" });
  assert.deepEqual(parseSize('1kbb'), { problem: "invalid suffix: 'kbb'" });
  assert.deepEqual(parseSize(''), { problem: "invalid size: ''" });
});
