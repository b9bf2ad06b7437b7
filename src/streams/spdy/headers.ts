import { type Inflate, createInflate } from 'node:zlib';
import { protocolFailure } from '../failure.ts';
import { headerDictionary } from './dictionary.ts';

/** Names in lower case. A name that comes twice, or with NULs in its value, has several values, joined by NULs. */
export type Headers = ReadonlyMap<string, string>;

/** Limits of one header block [a67]. */
const MAX_INFLATED = 64 * 1024;
const MAX_HEADERS = 100;

/**
 * Inflates the header blocks of one direction, in order: they are one zlib stream with the preset dictionary. Stops at the first byte
 * over the limit, however much more a small block would have become.
 */
export class HeaderDecoder {
  readonly #inflate: Inflate = createInflate({ dictionary: headerDictionary(), chunkSize: 4096 });
  #waiting: PromiseWithResolvers<Buffer> | undefined;
  #parts: Buffer[] = [];
  #length = 0;

  constructor() {
    this.#inflate.on('data', (part: Buffer) => {
      this.#parts.push(part);
      this.#length += part.length;
      if (this.#length > MAX_INFLATED) this.#fail(protocolFailure(`a header block has more than ${MAX_INFLATED} bytes`));
    });
    this.#inflate.on('error', (error) => this.#fail(protocolFailure(`a header block cannot be inflated: ${error.message}`)));
  }

  /** Failure `protocol` for what cannot be inflated, is too long, or holds no headers. One call at a time. */
  async decode(block: Buffer): Promise<Headers> {
    const waiting = (this.#waiting = Promise.withResolvers<Buffer>());
    this.#parts = [];
    this.#length = 0;
    this.#inflate.write(block, () => waiting.resolve(Buffer.concat(this.#parts)));
    return parseHeaders(await waiting.promise);
  }

  close(): void {
    this.#fail(protocolFailure('the connection has ended'));
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#inflate.destroy();
    this.#parts = [];
  }
}

/** The names and values of an inflated block. */
export function parseHeaders(bytes: Buffer): Headers {
  const reader = new BlockReader(bytes);
  const count = reader.number();
  if (count > MAX_HEADERS) throw protocolFailure(`${count} headers, at most ${MAX_HEADERS} are allowed`);
  const headers = new Map<string, string>();
  for (let n = 0; n < count; n++) {
    const name = reader.text().toLowerCase();
    if (name === '') throw protocolFailure('a header without name');
    const value = reader.text();
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before}\0${value}`);
  }
  return headers;
}

class BlockReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  number(): number {
    if (this.#at + 4 > this.#bytes.length) throw protocolFailure('a header block ends too early');
    const value = this.#bytes.readUInt32BE(this.#at);
    this.#at += 4;
    return value;
  }

  text(): string {
    const length = this.number();
    if (length > this.#bytes.length - this.#at) throw protocolFailure('a header is longer than its block');
    const value = this.#bytes.toString('latin1', this.#at, this.#at + length);
    this.#at += length;
    return value;
  }
}

const ZLIB_HEADER = Buffer.of(0x78, 0x01);
const MAX_STORED = 0xffff;
/** An empty stored block: readers, Go's among them, hand on what they have only when they see it. */
const FLUSH = Buffer.of(0, 0, 0, 0xff, 0xff);

/**
 * Header blocks of one direction as a zlib stream of stored blocks: ours are a few dozen bytes, so a compressor and
 * its quarter of a megabyte for each connection would save nothing.
 */
export class HeaderEncoder {
  #begun = false;

  encode(headers: Headers): Buffer {
    const plain = serializeHeaders(headers);
    const parts: Buffer[] = this.#begun ? [] : [ZLIB_HEADER];
    this.#begun = true;
    for (let at = 0; at < plain.length; at += MAX_STORED) {
      const part = plain.subarray(at, at + MAX_STORED);
      const stored = Buffer.alloc(5);
      stored.writeUInt16LE(part.length, 1);
      stored.writeUInt16LE(~part.length & MAX_STORED, 3);
      parts.push(stored, part);
    }
    return Buffer.concat([...parts, FLUSH]);
  }
}

function serializeHeaders(headers: Headers): Buffer {
  const parts: Buffer[] = [numberOf(headers.size)];
  for (const [name, value] of headers) {
    for (const text of [name.toLowerCase(), value]) {
      const bytes = Buffer.from(text, 'latin1');
      parts.push(numberOf(bytes.length), bytes);
    }
  }
  return Buffer.concat(parts);
}

function numberOf(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
