/**
 * Reads protobuf's binary form. Whatever the bytes are, the only error that leaves here is a Failure of kind
 * InvalidArgument. Reads are bounded by the buffer; that a message stays inside its own length is checked at its end
 * (`leave`), which comes before anything of it is used.
 */
import { isUtf8 } from 'node:buffer';
import { Failure } from '../errors/index.ts';

/** Groups inside groups that a skipped field may have; CRI has none, protobuf's own parsers stop at 100 as well. */
const MAX_GROUP_DEPTH = 100;

export class Reader {
  readonly #buffer: Buffer;
  /** The upper 32 bits of the last varint; its lower ones are what `#varint` returned. */
  #high = 0;
  /** Offset of the next byte. */
  pos = 0;

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length(): number {
    return this.#buffer.length;
  }

  /** A field's number and wire type, as one number; field numbers are 1 to 2^29 - 1. */
  tag(): number {
    const tag = this.#varint();
    if (this.#high !== 0 || tag < 8) throw malformed('bad field number');
    return tag;
  }

  /** Reads a length; returns the offset at which the field ends. */
  enter(): number {
    const size = this.#varint();
    const end = this.pos + size;
    if (this.#high !== 0 || end > this.#buffer.length) throw malformed('truncated');
    return end;
  }

  /** At the end of a message or packed field: its last field must not have run over. */
  leave(end: number): void {
    if (this.pos !== end) throw malformed('a field is longer than its message');
  }

  string(): string {
    const start = this.pos;
    const end = this.enter();
    const from = this.pos;
    this.pos = end;
    const text = this.#buffer.toString('utf8', from, end);
    // A replacement character is what wrong bytes decode to, and a legal character too: only then look at the bytes.
    if (text.includes('\ufffd') && !isUtf8(this.#buffer.subarray(from, end))) {
      throw malformed(`string field at byte ${start} contains invalid UTF-8`);
    }
    return text;
  }

  /** A copy: the result does not keep the whole message alive. */
  bytes(): Uint8Array {
    const end = this.enter();
    const copy = new Uint8Array(this.#buffer.subarray(this.pos, end));
    this.pos = end;
    return copy;
  }

  bool(): boolean {
    const low = this.#varint();
    return low !== 0 || this.#high !== 0;
  }

  /** Also enums. Protobuf keeps the lower 32 bits of whatever is there. */
  int32(): number {
    return this.#varint() | 0;
  }

  uint32(): number {
    return this.#varint();
  }

  int64(): bigint {
    const low = this.#varint();
    return this.#high === 0 ? BigInt(low) : (BigInt(this.#high | 0) << 32n) | BigInt(low);
  }

  uint64(): bigint {
    const low = this.#varint();
    return this.#high === 0 ? BigInt(low) : (BigInt(this.#high) << 32n) | BigInt(low);
  }

  double(): number {
    const at = this.pos;
    this.#advance(8);
    return this.#buffer.readDoubleLE(at);
  }

  packedInt32(into: number[]): void {
    const end = this.enter();
    while (this.pos < end) into.push(this.int32());
    this.leave(end);
  }

  packedInt64(into: bigint[]): void {
    const end = this.enter();
    while (this.pos < end) into.push(this.int64());
    this.leave(end);
  }

  /** One entry of a map: key and value in any order, each may be missing (then empty) or repeated (the last counts). */
  stringMapEntry(into: Map<string, string>): void {
    const end = this.enter();
    let key = '';
    let value = '';
    while (this.pos < end) {
      const tag = this.tag();
      if (tag === 0x0a) key = this.string();
      else if (tag === 0x12) value = this.string();
      else this.skip(tag);
    }
    this.leave(end);
    into.set(key, value);
  }

  /** Passes over a field that the message does not know, or knows with another wire type. */
  skip(tag: number): void {
    const open: number[] = [];
    for (let current = tag; ; current = this.tag()) {
      const wireType = current & 7;
      if (wireType === 3) {
        if (open.push(current >>> 3) > MAX_GROUP_DEPTH) throw malformed('groups are nested too deeply');
      } else if (wireType === 4) {
        if (open.pop() !== current >>> 3) throw malformed('end of a group that was not begun');
      } else {
        this.#skipValue(wireType);
      }
      if (open.length === 0) return;
    }
  }

  #skipValue(wireType: number): void {
    if (wireType === 0) this.#varint();
    else if (wireType === 1) this.#advance(8);
    else if (wireType === 2) this.pos = this.enter();
    else if (wireType === 5) this.#advance(4);
    else throw malformed(`unknown wire type ${wireType}`);
  }

  #advance(size: number): void {
    this.pos += size;
    if (this.pos > this.#buffer.length) throw malformed('truncated');
  }

  /** Returns the lower 32 bits, leaves the upper ones in #high. */
  #varint(): number {
    let low = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte();
      low |= (byte & 127) << shift;
      if (byte < 128) {
        this.#high = 0;
        return low;
      }
    }
    const fifth = this.#byte();
    low = (low | ((fifth & 127) << 28)) >>> 0;
    this.#high = (fifth & 127) >>> 4;
    if (fifth < 128) return low;
    for (let shift = 3; shift < 32; shift += 7) {
      const byte = this.#byte();
      if (shift === 31 && byte > 1) throw malformed('varint is longer than 64 bits');
      this.#high = (this.#high | ((byte & 127) << shift)) >>> 0;
      if (byte < 128) return low;
    }
    throw malformed('varint is longer than 64 bits');
  }

  #byte(): number {
    const byte = this.#buffer[this.pos++];
    if (byte === undefined) throw malformed('truncated');
    return byte;
  }
}

function malformed(why: string): Failure {
  return new Failure('InvalidArgument', `malformed protobuf message: ${why}`);
}
