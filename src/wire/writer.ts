/**
 * Writes protobuf's binary form into one growing buffer.
 *
 * Every field method takes the field's whole tag (number << 3 | wire type), as the generated code spells it. Whether a
 * value is worth writing (proto3 leaves defaults out) is the caller's decision.
 */
import { Failure } from '../errors/index.ts';

/** Strings up to this length are copied by a loop: cheaper than the call into C++ that a long one deserves. */
const LOOP_LIMIT = 32;

export class Writer {
  #buffer = Buffer.allocUnsafe(256);
  #length = 0;

  /** What was written; a view that nobody else writes to, as the writer is used once. */
  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  string(tag: number, value: string): void {
    this.#reserve(15 + value.length * 3);
    this.#varint32(tag);
    if (value.length <= LOOP_LIMIT && this.#asciiString(value)) return;
    const size = Buffer.byteLength(value);
    this.#varint32(size);
    this.#buffer.write(value, this.#length, size, 'utf8');
    this.#length += size;
  }

  bytes(tag: number, value: Uint8Array): void {
    this.#reserve(15 + value.length);
    this.#varint32(tag);
    this.#varint32(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
  }

  bool(tag: number, value: boolean): void {
    this.#reserve(6);
    this.#varint32(tag);
    this.#buffer[this.#length++] = value ? 1 : 0;
  }

  /** Also enums: a negative number takes ten bytes, as protobuf sign-extends it to 64 bits. */
  int32(tag: number, value: number): void {
    this.#reserve(15);
    this.#varint32(tag);
    this.#int32(value);
  }

  uint32(tag: number, value: number): void {
    if (value >>> 0 !== value) throw outOfRange('uint32', value);
    this.#reserve(15);
    this.#varint32(tag);
    this.#varint32(value);
  }

  int64(tag: number, value: bigint): void {
    this.#reserve(15);
    this.#varint32(tag);
    this.#int64(value);
  }

  uint64(tag: number, value: bigint): void {
    if (BigInt.asUintN(64, value) !== value) throw outOfRange('uint64', value);
    this.#reserve(15);
    this.#varint32(tag);
    this.#varint64(value);
  }

  double(tag: number, value: number): void {
    this.#reserve(13);
    this.#varint32(tag);
    this.#length = this.#buffer.writeDoubleLE(value, this.#length);
  }

  packedInt32(tag: number, values: readonly number[]): void {
    const start = this.open(tag);
    for (const value of values) {
      this.#reserve(10);
      this.#int32(value);
    }
    this.close(start);
  }

  packedInt64(tag: number, values: readonly bigint[]): void {
    const start = this.open(tag);
    for (const value of values) {
      this.#reserve(10);
      this.#int64(value);
    }
    this.close(start);
  }

  stringMap(tag: number, entries: ReadonlyMap<string, string>): void {
    for (const [key, value] of entries) {
      const start = this.open(tag);
      this.string(0x0a, key);
      this.string(0x12, value);
      this.close(start);
    }
  }

  /** Begins a length-delimited field; what is written until `close` of the answer is its content. */
  open(tag: number): number {
    this.#reserve(6);
    this.#varint32(tag);
    return ++this.#length;
  }

  /** Ends what `open` began: one byte was kept for the length, a longer content moves up to make room. */
  close(start: number): void {
    const size = this.#length - start;
    if (size < 128) {
      this.#buffer[start - 1] = size;
      return;
    }
    const extra = size < 1 << 14 ? 1 : size < 1 << 21 ? 2 : size < 1 << 28 ? 3 : 4;
    this.#reserve(extra);
    this.#buffer.copyWithin(start + extra, start, this.#length);
    this.#length = start - 1;
    this.#varint32(size);
    this.#length += size;
  }

  #asciiString(value: string): boolean {
    let at = this.#length + 1;
    for (let index = 0; index < value.length; index++) {
      const unit = value.charCodeAt(index);
      if (unit > 127) return false;
      this.#buffer[at++] = unit;
    }
    this.#buffer[this.#length] = value.length;
    this.#length = at;
    return true;
  }

  #int32(value: number): void {
    if ((value | 0) !== value) throw outOfRange('int32', value);
    if (value < 0) this.#varint64(BigInt.asUintN(64, BigInt(value)));
    else this.#varint32(value);
  }

  #int64(value: bigint): void {
    if (BigInt.asIntN(64, value) !== value) throw outOfRange('int64', value);
    this.#varint64(BigInt.asUintN(64, value));
  }

  #varint32(value: number): void {
    let rest = value;
    while (rest > 127) {
      this.#buffer[this.#length++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    this.#buffer[this.#length++] = rest;
  }

  #varint64(value: bigint): void {
    if (value <= 0xffffffffn) return this.#varint32(Number(value));
    let low = Number(value & 0xffffffffn);
    let high = Number(value >> 32n);
    while (high > 0) {
      this.#buffer[this.#length++] = (low & 127) | 128;
      low = ((high << 25) | (low >>> 7)) >>> 0;
      high >>>= 7;
    }
    this.#varint32(low);
  }

  #reserve(size: number): void {
    if (this.#length + size <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + size));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}

function outOfRange(type: string, value: number | bigint): Failure {
  return new Failure('Internal', `cannot encode ${value} as ${type}: out of range`);
}
