import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OPCODE, type WebSocketFrame, WebSocketReader, frameHead } from './frames.ts';

function masked(opcode: number, fin: boolean, payload: Buffer, mask: Buffer): Buffer {
  const head = frameHead(opcode, payload.length, true);
  head.writeUInt8((fin ? 0x80 : 0) | opcode, 0);
  mask.copy(head, head.length - 4);
  return Buffer.concat([head, Buffer.from(payload.map((byte, at) => byte ^ (mask[at & 3] ?? 0)))]);
}

function read(bytes: Buffer, cuts: readonly number[] = [], server = true): WebSocketFrame[] {
  const reader = new WebSocketReader(server);
  const frames: WebSocketFrame[] = [];
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    const end = Math.min(bytes.length, Math.max(at, cut));
    for (const frame of reader.read(Buffer.from(bytes.subarray(at, end)))) frames.push({ ...frame, bytes: Buffer.from(frame.bytes) });
    at = end;
  }
  return frames;
}

function messages(frames: readonly WebSocketFrame[]): string[] {
  const all: string[] = [];
  for (const frame of frames) {
    if (frame.type !== 'message') continue;
    all.push(`${frame.first ? '' : (all.pop() ?? 'no beginning')}${frame.bytes.toString('latin1')}`);
  }
  return all;
}

test('messages come out whole, however they are fragmented and cut, with control frames in between', () => {
  const message = fc.array(fc.string({ unit: 'binary-ascii', maxLength: 300 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 5 }),
      fc.array(fc.nat(3000), { maxLength: 10 }),
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      (all, cuts, mask) => {
        const bytes = all.flatMap((parts) =>
          parts.flatMap((text, at) => [
            masked(at === 0 ? OPCODE.binary : OPCODE.continuation, at === parts.length - 1, Buffer.from(text, 'latin1'), Buffer.from(mask)),
            masked(OPCODE.ping, true, Buffer.from('?'), Buffer.from(mask)),
          ]),
        );
        const frames = read(
          Buffer.concat(bytes),
          cuts.toSorted((a, b) => a - b),
        );
        assert.deepEqual(
          messages(frames),
          all.map((parts) => parts.join('')),
        );
        assert.equal(frames.filter(({ type }) => type === 'ping').length, all.flat().length);
      },
    ),
  );
});

test('frames of any bytes are messages or a protocol failure', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.nat(200), { maxLength: 4 }), fc.boolean(), (bytes, cuts, server) => {
      try {
        const frames = read(
          Buffer.from(bytes),
          cuts.toSorted((a, b) => a - b),
          server,
        );
        assert.ok(frames.reduce((sum, frame) => sum + frame.bytes.length, 0) <= bytes.length);
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, 'protocol', String(error));
      }
    }),
    { numRuns: 3000 },
  );
});

for (const [what, bytes] of [
  ['reserved bits', [0xc2, 0x80, 0, 0, 0, 0]],
  ['an unknown type', [0x83, 0x80, 0, 0, 0, 0]],
  ['no mask', [0x82, 0x01, 65]],
  ['a fragmented ping', [0x09, 0x80, 0, 0, 0, 0]],
  ['a ping of 126 bytes', [0x89, 0xfe, 0, 126, 0, 0, 0, 0]],
  ['a continuation of nothing', [0x80, 0x80, 0, 0, 0, 0]],
  ['a length beyond counting', [0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]],
] as const) {
  test(`refused: ${what}`, () => {
    assert.throws(() => read(Buffer.from(bytes)), { code: 'protocol' });
  });
}

test('refused: a message within a message', () => {
  const mask = Buffer.alloc(4);
  const bytes = [masked(OPCODE.binary, false, Buffer.from('a'), mask), masked(OPCODE.binary, true, Buffer.from('b'), mask)];
  assert.throws(() => read(Buffer.concat(bytes)), { code: 'protocol' });
});
