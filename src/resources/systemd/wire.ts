import { Failure } from '../../errors/index.ts';

/**
 * D-Bus values by signature (D-Bus specification, "Type system" and "Marshalling"), little-endian: y b u i t x as number or bigint,
 * s o g as text, a as array, ( ) as array, v as `Variant`. Dictionaries are arrays of pairs.
 */
export type Value = number | bigint | boolean | string | Variant | readonly Value[];

export interface Variant {
  readonly signature: string;
  readonly value: Value;
}

/** A value that is to be text; empty where it is none. */
export function textValue(value: Value | undefined): string {
  return typeof value === 'string' ? value : '';
}

const ALIGN: Readonly<Record<string, number>> = { y: 1, g: 1, v: 1, b: 4, u: 4, i: 4, s: 4, o: 4, a: 4, t: 8, x: 8, '(': 8, '{': 8 };

/** The complete types that a signature consists of: `sa(sv)` → `s`, `a(sv)`. */
export function typesOf(signature: string): string[] {
  const types: string[] = [];
  for (let at = 0; at < signature.length;) {
    const end = endOfType(signature, at);
    types.push(signature.slice(at, end));
    at = end;
  }
  return types;
}

function endOfType(signature: string, at: number): number {
  const first = signature[at] ?? '';
  if (first === 'a') return endOfType(signature, at + 1);
  if (first === '(' || first === '{') {
    let end = at + 1;
    while (signature[end] !== ')' && signature[end] !== '}') end = endOfType(signature, end);
    return end + 1;
  }
  if (!(first in ALIGN)) throw new Failure('Unknown', `unknown D-Bus type ${JSON.stringify(signature.slice(at))}`);
  return at + 1;
}

export class Writer {
  readonly #parts: Buffer[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  write(type: string, value: Value): this {
    const kind = type[0] ?? '';
    if (kind === 'a') return this.#array(type.slice(1), value as readonly Value[]);
    this.pad(ALIGN[kind] ?? 1);
    if (kind === '(' || kind === '{') {
      const fields = value as readonly Value[];
      for (const [n, field] of typesOf(type.slice(1, -1)).entries()) this.write(field, fields[n] ?? 0);
    } else if (kind === 'v') {
      const variant = value as Variant;
      this.write('g', variant.signature).write(variant.signature, variant.value);
    } else if (kind === 's' || kind === 'o' || kind === 'g') {
      this.#text(kind, value as string);
    } else {
      this.#number(kind, value as number | bigint | boolean);
    }
    return this;
  }

  pad(to: number): void {
    const rest = this.#length % to;
    if (rest !== 0) this.#append(Buffer.alloc(to - rest));
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  #array(type: string, values: readonly Value[]): this {
    this.pad(4);
    const length = Buffer.alloc(4);
    this.#append(length);
    this.pad(ALIGN[type[0] ?? ''] ?? 1);
    const start = this.#length;
    for (const value of values) this.write(type, value);
    length.writeUInt32LE(this.#length - start);
    return this;
  }

  #text(kind: string, text: string): void {
    const bytes = Buffer.from(`${text}\0`);
    if (kind === 'g') this.#append(Buffer.of(bytes.length - 1));
    else this.#number('u', bytes.length - 1);
    this.#append(bytes);
  }

  #number(kind: string, value: number | bigint | boolean): void {
    const bytes = Buffer.alloc(ALIGN[kind] ?? 1);
    if (bytes.length === 8) bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
    else if (bytes.length === 4) bytes.writeUInt32LE(Number(value) >>> 0);
    else bytes.writeUInt8(Number(value));
    this.#append(bytes);
  }

  #append(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#length += bytes.length;
  }
}

/** Fails with a RangeError, as Buffer does, where the bytes end too early. */
export class Reader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  read(type: string): Value {
    const kind = type[0] ?? '';
    this.pad(ALIGN[kind] ?? 1);
    if (kind === 'a') return this.#array(type.slice(1));
    if (kind === '(' || kind === '{') return typesOf(type.slice(1, -1)).map((field) => this.read(field));
    if (kind === 'v') {
      const signature = this.read('g') as string;
      return { signature, value: this.read(signature) };
    }
    if (kind === 's' || kind === 'o' || kind === 'g') {
      const length = kind === 'g' ? this.#bytes.readUInt8(this.#advance(1)) : this.#bytes.readUInt32LE(this.#advance(4));
      const start = this.#advance(length + 1);
      if (this.#at > this.#bytes.length) throw new RangeError('a D-Bus text ends after its message');
      return this.#bytes.toString('utf8', start, start + length);
    }
    if (kind === 't' || kind === 'x') return this.#bytes.readBigUInt64LE(this.#advance(8));
    if (kind === 'y') return this.#bytes.readUInt8(this.#advance(1));
    const word = this.#bytes.readUInt32LE(this.#advance(4));
    return kind === 'b' ? word !== 0 : kind === 'i' ? word | 0 : word;
  }

  pad(to: number): void {
    this.#at = Math.ceil(this.#at / to) * to;
  }

  #array(type: string): Value[] {
    const length = this.#bytes.readUInt32LE(this.#advance(4));
    this.pad(ALIGN[type[0] ?? ''] ?? 1);
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError('a D-Bus array ends after its message');
    const values: Value[] = [];
    while (this.#at < end) values.push(this.read(type));
    return values;
  }

  #advance(by: number): number {
    const start = this.#at;
    this.#at += by;
    return start;
  }
}
