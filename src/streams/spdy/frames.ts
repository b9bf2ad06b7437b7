import { protocolFailure } from '../failure.ts';

/** SPDY/3.1 (draft-mbelshe-httpbis-spdy-00 §2.2, with the flow control of 3.1, which no Kubernetes client or server uses). */
export const TYPE = { synStream: 1, synReply: 2, reset: 3, settings: 4, ping: 6, goAway: 7, headers: 8, windowUpdate: 9 } as const;
export const FLAG = { fin: 1, unidirectional: 2 } as const;
export const RESET = { protocolError: 1, invalidStream: 2, refusedStream: 3, cancel: 5, internalError: 6 } as const;

const VERSION = 3;
const HEADER = 8;
/** No control frame of a Kubernetes client passes a few hundred bytes. */
const MAX_CONTROL = 64 * 1024;
const MAX_SETTINGS = 64;
const MAX_DATA = 0xffffff;

export type Frame =
  | { readonly type: 'syn-stream' | 'syn-reply' | 'headers'; readonly stream: number; readonly flags: number; readonly block: Buffer }
  | { readonly type: 'reset'; readonly stream: number; readonly status: number }
  | { readonly type: 'ping'; readonly id: number }
  | { readonly type: 'go-away' }
  | { readonly type: 'ignored' }
  /** A piece of a data frame as it came; `fin` with the last piece of one that ends its stream. */
  | { readonly type: 'data'; readonly stream: number; readonly fin: boolean; readonly bytes: Buffer };

/**
 * Cuts a byte stream into frames. Data is passed on piece by piece, so a frame's length costs nothing; a control frame is kept until it
 * is whole, and is bounded. Throws a `protocol` failure; the reader is of no use after that.
 */
export class FrameReader {
  #kept: Buffer = Buffer.alloc(0);
  #data: { readonly stream: number; readonly fin: boolean; left: number } | undefined;

  *read(bytes: Buffer): Generator<Frame, void> {
    let rest = this.#kept.length === 0 ? bytes : Buffer.concat([this.#kept, bytes]);
    this.#kept = Buffer.alloc(0);
    while (rest.length > 0) {
      if (this.#data !== undefined) {
        const piece = rest.subarray(0, this.#data.left);
        rest = rest.subarray(piece.length);
        yield this.#piece(this.#data, piece);
        continue;
      }
      if (rest.length < HEADER) break;
      const length = rest.readUIntBE(5, 3);
      const flags = rest.readUInt8(4);
      if (rest.readUInt8(0) < 0x80) {
        this.#data = { stream: rest.readUInt32BE(0), fin: (flags & FLAG.fin) !== 0, left: length };
        rest = rest.subarray(HEADER);
        if (length === 0) yield this.#piece(this.#data, Buffer.alloc(0));
        continue;
      }
      checkControl(rest, length);
      if (rest.length < HEADER + length) break;
      yield parseControl(rest.readUInt16BE(2), flags, rest.subarray(HEADER, HEADER + length));
      rest = rest.subarray(HEADER + length);
    }
    // A copy: what is kept must not keep the whole chunk that it came in.
    this.#kept = Buffer.from(rest);
  }

  #piece(data: { readonly stream: number; readonly fin: boolean; left: number }, bytes: Buffer): Frame {
    data.left -= bytes.length;
    if (data.left === 0) this.#data = undefined;
    return { type: 'data', stream: data.stream, fin: data.fin && data.left === 0, bytes };
  }
}

function checkControl(bytes: Buffer, length: number): void {
  const version = bytes.readUInt16BE(0) & 0x7fff;
  if (version !== VERSION) throw protocolFailure(`SPDY version ${version}`);
  if (length > MAX_CONTROL) throw protocolFailure(`a control frame of ${length} bytes, at most ${MAX_CONTROL} are allowed`);
}

function parseControl(type: number, flags: number, body: Buffer): Frame {
  switch (type) {
    case TYPE.synStream:
      need(body, 10, 'SYN_STREAM');
      return { type: 'syn-stream', stream: streamOf(body), flags, block: Buffer.from(body.subarray(10)) };
    case TYPE.synReply:
      need(body, 4, 'SYN_REPLY');
      return { type: 'syn-reply', stream: streamOf(body), flags, block: Buffer.from(body.subarray(4)) };
    case TYPE.headers:
      need(body, 4, 'HEADERS');
      return { type: 'headers', stream: streamOf(body), flags, block: Buffer.from(body.subarray(4)) };
    case TYPE.reset:
      need(body, 8, 'RST_STREAM');
      return { type: 'reset', stream: streamOf(body), status: body.readUInt32BE(4) };
    case TYPE.settings:
      checkSettings(body);
      return { type: 'ignored' };
    case TYPE.ping:
      need(body, 4, 'PING');
      return { type: 'ping', id: body.readUInt32BE(0) };
    case TYPE.goAway:
      return { type: 'go-away' };
    default:
      return { type: 'ignored' };
  }
}

function need(body: Buffer, length: number, name: string): void {
  if (body.length < length) throw protocolFailure(`a ${name} frame of ${body.length} bytes`);
}

function streamOf(body: Buffer): number {
  return body.readUInt32BE(0) & 0x7fffffff;
}

/** None of them is of use to us, but a count that is not true is the mark of an attack [a67]. */
function checkSettings(body: Buffer): void {
  need(body, 4, 'SETTINGS');
  const count = body.readUInt32BE(0);
  if (count > MAX_SETTINGS || body.length !== 4 + 8 * count)
    throw protocolFailure(`a SETTINGS frame of ${body.length} bytes with ${count} entries`);
}

export function controlFrame(type: number, flags: number, ...parts: readonly (Buffer | number)[]): Buffer {
  const bodies = parts.map((part) => (typeof part === 'number' ? wordOf(part) : part));
  const length = bodies.reduce((sum, body) => sum + body.length, 0);
  const head = Buffer.alloc(HEADER);
  head.writeUInt16BE(0x8000 | VERSION, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(length, 5, 3);
  return Buffer.concat([head, ...bodies]);
}

/** The eight bytes before data, of which one frame may hold `MAX_DATA`. */
export function dataHead(stream: number, flags: number, length: number): Buffer {
  const head = Buffer.alloc(HEADER);
  head.writeUInt32BE(stream, 0);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(length, 5, 3);
  return head;
}

/** Cuts what is longer than one frame may be. */
export function* inFrames(bytes: Buffer): Generator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += MAX_DATA) yield bytes.subarray(at, at + MAX_DATA);
}

function wordOf(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
