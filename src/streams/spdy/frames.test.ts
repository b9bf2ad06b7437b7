import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createDeflate, constants as zlib } from 'node:zlib';
import { test } from 'node:test';
import fc from 'fast-check';
import { headerDictionary } from './dictionary.ts';
import { type Frame, FrameReader, TYPE, controlFrame, dataHead } from './frames.ts';
import { HeaderDecoder, HeaderEncoder, parseHeaders } from './headers.ts';

function framesOf(bytes: Buffer, cuts: readonly number[] = []): Frame[] {
  const reader = new FrameReader();
  const frames: Frame[] = [];
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    const end = Math.min(bytes.length, Math.max(at, cut));
    frames.push(...reader.read(bytes.subarray(at, end)));
    at = end;
  }
  return frames;
}

/** Data of each stream, however it was cut. */
function dataOf(frames: readonly Frame[]): Map<number, string> {
  const data = new Map<number, string>();
  for (const frame of frames) {
    if (frame.type !== 'data') continue;
    data.set(frame.stream, `${data.get(frame.stream) ?? ''}${frame.bytes.toString('latin1')}${frame.fin ? '<fin>' : ''}`);
  }
  return data;
}

/** As a compressing client makes them: one zlib stream with the dictionary, flushed after each block. */
async function deflated(...blocks: readonly Buffer[]): Promise<Buffer[]> {
  const deflate = createDeflate({ dictionary: headerDictionary(), level: 9 });
  const out: Buffer[] = [];
  let parts: Buffer[] = [];
  deflate.on('data', (part: Buffer) => parts.push(part));
  for (const block of blocks) {
    parts = [];
    deflate.write(block);
    await new Promise<void>((resolve) => deflate.flush(zlib.Z_SYNC_FLUSH, resolve));
    out.push(Buffer.concat(parts));
  }
  return out;
}

function plainBlock(pairs: readonly (readonly [string, string])[], count = pairs.length): Buffer {
  const number = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  return Buffer.concat([number(count), ...pairs.flat().flatMap((text) => [number(Buffer.byteLength(text)), Buffer.from(text)])]);
}

test('wherever a byte stream is cut, the same data comes out', () => {
  const piece = fc.record({
    stream: fc.integer({ min: 1, max: 9 }),
    text: fc.string({ unit: 'binary-ascii', maxLength: 40 }),
    fin: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.array(fc.nat(700), { maxLength: 8 }), (pieces, cuts) => {
      const bytes = Buffer.concat(
        pieces.flatMap(({ stream, text, fin }) => [
          dataHead(stream, fin ? 1 : 0, text.length),
          Buffer.from(text, 'latin1'),
          controlFrame(TYPE.ping, 0, 7),
        ]),
      );
      const frames = framesOf(
        bytes,
        cuts.toSorted((a, b) => a - b),
      );
      const expected = new Map<number, string>();
      for (const { stream, text, fin } of pieces) expected.set(stream, `${expected.get(stream) ?? ''}${text}${fin ? '<fin>' : ''}`);
      assert.deepEqual(dataOf(frames), expected);
      assert.equal(frames.filter((frame) => frame.type === 'ping').length, pieces.length);
    }),
  );
});

test('[a67] whatever bytes come, there are frames or a protocol failure, and never more data than bytes', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    // Beginnings that look like frames, so that bodies are reached.
    fc
      .tuple(fc.constantFrom(1, 2, 3, 4, 6, 7, 8, 9), fc.uint8Array({ maxLength: 80 }))
      .map(([type, body]) => controlFrame(type, 0, Buffer.from(body))),
  );
  fc.assert(
    fc.property(fc.array(bytes, { maxLength: 6 }), fc.array(fc.nat(600), { maxLength: 5 }), (parts, cuts) => {
      const all = Buffer.concat(parts);
      try {
        const frames = framesOf(
          all,
          cuts.toSorted((a, b) => a - b),
        );
        const data = frames.reduce((sum, frame) => sum + (frame.type === 'data' ? frame.bytes.length : 0), 0);
        assert.ok(data <= all.length);
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, 'protocol', String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test('[a67] lengths and counts that a frame only claims are refused before anything is kept for them', () => {
  const settings = controlFrame(TYPE.settings, 0, 0xffffffff, Buffer.alloc(8));
  assert.throws(() => framesOf(settings), { code: 'protocol' });
  assert.throws(() => framesOf(controlFrame(TYPE.settings, 0, 65, Buffer.alloc(65 * 8))), { code: 'protocol' });
  const endless = Buffer.from(controlFrame(TYPE.synStream, 0, 1, 0, Buffer.of(0, 0)));
  endless.writeUIntBE(0xffffff, 5, 3);
  assert.throws(() => framesOf(endless), { code: 'protocol' });
  const version2 = Buffer.from(controlFrame(TYPE.ping, 0, 1));
  version2.writeUInt16BE(0x8002, 0);
  assert.throws(() => framesOf(version2), { code: 'protocol' });
});

test('header blocks of a compressing peer are read, one after the other', async () => {
  const pairs: readonly (readonly [string, string])[] = [
    ['streamType', 'stdin'],
    ['accept-encoding', 'gzip,deflate'],
  ];
  const decoder = new HeaderDecoder();
  for (const block of await deflated(plainBlock(pairs), plainBlock([['port', '80']]), plainBlock([]))) {
    const headers = await decoder.decode(block);
    assert.ok(headers.size <= 2);
    if (headers.size === 2)
      assert.deepEqual(
        [...headers],
        [
          ['streamtype', 'stdin'],
          ['accept-encoding', 'gzip,deflate'],
        ],
      );
    if (headers.size === 1) assert.equal(headers.get('port'), '80');
  }
  decoder.close();
});

test('what we encode, we decode', async () => {
  const encoder = new HeaderEncoder();
  const decoder = new HeaderDecoder();
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(fc.stringMatching(/^[a-z-]{1,20}$/), fc.string({ unit: 'binary-ascii', maxLength: 500 })),
      async (object) => {
        const headers = new Map(Object.entries(object));
        assert.deepEqual(await decoder.decode(encoder.encode(headers)), headers);
      },
    ),
  );
  decoder.close();
});

test('[a67] a header bomb is stopped at its limit', async () => {
  const [bomb = Buffer.alloc(0)] = await deflated(plainBlock([['x', 'y'.repeat(60 * 1024 * 1024)]]));
  assert.ok(bomb.length < 64 * 1024, 'it fits into a control frame');
  const decoder = new HeaderDecoder();
  const before = process.memoryUsage().rss;
  await assert.rejects(decoder.decode(bomb), { code: 'protocol' });
  assert.ok(process.memoryUsage().rss - before < 16 * 1024 * 1024);
  const many = new HeaderDecoder();
  const [tooMany = Buffer.alloc(0)] = await deflated(plainBlock([], 0xffffffff));
  await assert.rejects(many.decode(tooMany), { code: 'protocol' });
});

test('[a67] header bytes of any kind are headers or a protocol failure', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        parseHeaders(Buffer.from(bytes));
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, 'protocol');
      }
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
      const decoder = new HeaderDecoder();
      await decoder.decode(Buffer.from(bytes)).catch((error: { code?: unknown }) => assert.equal(error.code, 'protocol'));
      decoder.close();
    }),
  );
});

test('the dictionary is that of the draft, byte for byte', () => {
  const digest = createHash('sha256').update(headerDictionary()).digest('hex');
  assert.equal(digest, '51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02');
});
