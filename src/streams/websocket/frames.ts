import { protocolFailure } from '../failure.ts';

/** RFC 6455. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

const MAX_CONTROL = 125;

export type WebSocketFrame =
  /** A piece of a message as it came: `first` and `last` tell where in the message it stands. */
  | { readonly type: 'message'; readonly first: boolean; readonly last: boolean; readonly bytes: Buffer }
  | { readonly type: 'close' | 'ping' | 'pong'; readonly bytes: Buffer };

interface Head {
  readonly opcode: number;
  readonly fin: boolean;
  readonly mask: Buffer | undefined;
  readonly length: number;
  /** Bytes of the head itself. */
  readonly size: number;
}

/**
 * Cuts a byte stream into frames. Messages are passed on piece by piece, so their length costs nothing. With `masked`, what is not masked
 * is refused, as a server must. Throws a `protocol` failure; the reader is of no use after that.
 */
export class WebSocketReader {
  readonly #masked: boolean;
  #kept: Buffer = Buffer.alloc(0);
  #frame: (Head & { at: number }) | undefined;
  #inMessage = false;
  #first = false;

  constructor(masked: boolean) {
    this.#masked = masked;
  }

  *read(bytes: Buffer): Generator<WebSocketFrame, void> {
    let rest = this.#kept.length === 0 ? bytes : Buffer.concat([this.#kept, bytes]);
    this.#kept = Buffer.alloc(0);
    for (;;) {
      if (this.#frame === undefined) {
        const head = readHead(rest, this.#masked);
        if (head === undefined) break;
        if (head.opcode >= OPCODE.close) {
          if (rest.length < head.size + head.length) break;
          const body = rest.subarray(head.size, head.size + head.length);
          unmask(body, head.mask, 0);
          rest = rest.subarray(head.size + head.length);
          yield { type: nameOf(head.opcode), bytes: Buffer.from(body) };
          continue;
        }
        this.#begin(head);
        rest = rest.subarray(head.size);
        if (head.length > 0) continue;
        yield this.#piece(rest.subarray(0, 0));
      } else if (rest.length === 0) break;
      else {
        const piece = rest.subarray(0, this.#frame.length - this.#frame.at);
        rest = rest.subarray(piece.length);
        yield this.#piece(piece);
      }
    }
    this.#kept = Buffer.from(rest);
  }

  #begin(head: Head): void {
    const continues = head.opcode === OPCODE.continuation;
    if (continues !== this.#inMessage) throw protocolFailure(continues ? 'a continuation of no message' : 'a message within a message');
    if (!continues) this.#first = true;
    this.#inMessage = true;
    this.#frame = { ...head, at: 0 };
  }

  #piece(bytes: Buffer): WebSocketFrame {
    const frame = this.#frame;
    if (frame === undefined) throw protocolFailure('data outside of a frame');
    unmask(bytes, frame.mask, frame.at);
    frame.at += bytes.length;
    const whole = frame.at === frame.length;
    if (whole) this.#frame = undefined;
    const last = whole && frame.fin;
    if (last) this.#inMessage = false;
    const first = this.#first;
    this.#first = false;
    return { type: 'message', first, last, bytes };
  }
}

function nameOf(opcode: number): 'close' | 'ping' | 'pong' {
  return opcode === OPCODE.close ? 'close' : opcode === OPCODE.ping ? 'ping' : 'pong';
}

function readHead(bytes: Buffer, masked: boolean): Head | undefined {
  if (bytes.length < 2) return undefined;
  const [one, two] = [bytes.readUInt8(0), bytes.readUInt8(1)];
  const opcode = one & 0x0f;
  const fin = (one & 0x80) !== 0;
  if ((one & 0x70) !== 0) throw protocolFailure('reserved bits of a frame are set');
  if (opcode > OPCODE.pong || (opcode > OPCODE.binary && opcode < OPCODE.close)) throw protocolFailure(`frame of unknown type ${opcode}`);
  if (((two & 0x80) !== 0) !== masked) throw protocolFailure(masked ? 'a frame is not masked' : 'a frame is masked');
  const short = two & 0x7f;
  if (opcode >= OPCODE.close && (!fin || short > MAX_CONTROL)) throw protocolFailure('a control frame is fragmented or too long');
  const lengthSize = short === 127 ? 8 : short === 126 ? 2 : 0;
  const size = 2 + lengthSize + (masked ? 4 : 0);
  if (bytes.length < size) return undefined;
  const length = lengthSize === 0 ? short : lengthSize === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (!Number.isSafeInteger(length)) throw protocolFailure('a frame is longer than can be counted');
  return { opcode, fin, length, size, mask: masked ? Buffer.from(bytes.subarray(size - 4, size)) : undefined };
}

/** In place; `at` is how far in the frame the bytes stand. */
function unmask(bytes: Buffer, mask: Buffer | undefined, at: number): void {
  if (mask === undefined) return;
  for (let i = 0; i < bytes.length; i++) bytes[i] = (bytes[i] ?? 0) ^ (mask[(at + i) & 3] ?? 0);
}

/** What stands before a payload. A client masks, with zeros: the mask protects proxies from browsers, and we are none. */
export function frameHead(opcode: number, length: number, masked: boolean): Buffer {
  const lengthSize = length < 126 ? 0 : length < 0x10000 ? 2 : 8;
  const head = Buffer.alloc(2 + lengthSize + (masked ? 4 : 0));
  head.writeUInt8(0x80 | opcode, 0);
  head.writeUInt8((masked ? 0x80 : 0) | (lengthSize === 0 ? length : lengthSize === 2 ? 126 : 127), 1);
  if (lengthSize === 2) head.writeUInt16BE(length, 2);
  if (lengthSize === 8) head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}
