import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Crc64 } from './crc64.ts';

/** Bit by bit, as the polynomial is defined. */
function slow(bytes: Uint8Array): string {
  let crc = 0xffff_ffff_ffff_ffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1n) === 0n ? crc >> 1n : (crc >> 1n) ^ 0xd800_0000_0000_0000n;
  }
  return (crc ^ 0xffff_ffff_ffff_ffffn).toString(16).padStart(16, '0');
}

test('CRC-64/GO-ISO of the check string', () => {
  const crc = new Crc64();
  crc.update(Buffer.from('123456789'));
  assert.equal(crc.digest().toString('hex'), 'b90956c775a41001');
});

test('any bytes in any pieces, at any alignment', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), fc.nat(7), (bytes, cut, shift) => {
      const moved = new Uint8Array(bytes.length + shift).subarray(shift);
      moved.set(bytes);
      const crc = new Crc64();
      crc.update(Buffer.from('before'));
      crc.reset();
      crc.update(moved.subarray(0, cut));
      crc.update(moved.subarray(cut));
      assert.equal(crc.digest().toString('hex'), slow(bytes));
    }),
  );
});
