import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { codeOf, textOf } from '../../src/errors/index.ts';
import { sha256 } from '../../src/ids/index.ts';
import { createLogger } from '../../src/log/index.ts';
import { LayerUnpacker } from '../../src/storage/index.ts';
import { archive, file } from '../fixtures/tar-writer.ts';
import { encrypted } from '../harness/encrypting.ts';
import { Workplace, reassembled, unpack } from '../harness/trees.ts';

const unpacker = new LayerUnpacker({ log: createLogger({ level: 'error', filter: undefined, write: () => {} }), maxThreads: 2 });
after(() => unpacker.close());

// More than a buffer on its way to the thread holds, and hard to compress.
const tar = archive(file('a', 'first'), file('noise', encrypted(Buffer.alloc(1_200_000)).blob), file('z', 'last'));

test('[I39] an encrypted layer is what its blob holds, however that is compressed', async () => {
  for (const [what, plain, compression] of [
    ['plain', tar, 0],
    ['gzip', gzipSync(tar, { level: 1 }), 2],
    ['zstd', zstdCompressSync(tar), 4],
  ] as const) {
    using place = new Workplace();
    const { blob, ...decryption } = encrypted(plain);
    const layer = await unpack(unpacker, place, blob, { decryption, diffId: sha256(tar) });
    const wanted = { blobDigest: sha256(blob), decryptedDigest: sha256(plain), blobSize: plain.length, diffId: sha256(tar), compression };
    assert.deepEqual(layer, { ...wanted, diffSize: tar.length, uids: [0], gids: [0] }, what);
    assert.equal(readFileSync(place.path('diff/z'), 'utf8'), 'last');
    assert.equal(reassembled(place.tarSplit, place.diff), layer.diffId, what);
  }
});

test('[I39] a blob that is not what was encrypted is refused for its code, whatever it looks like decrypted', async () => {
  const refusal = async (blob: Buffer, decryption: Omit<ReturnType<typeof encrypted>, 'blob'>) => {
    using place = new Workplace();
    return await unpack(unpacker, place, blob, { decryption }).then(
      () => assert.fail('it was taken'),
      (error: unknown) => error,
    );
  };
  const [plain, zipped] = [encrypted(tar), encrypted(gzipSync(tar, { level: 1 }))];
  const changed = (blob: Buffer, at: number) =>
    Buffer.from(blob).fill((blob.at(at) ?? 0) ^ 1, at < 0 ? blob.length + at : at, at < 0 ? blob.length + at + 1 : at + 1);
  const texts = new Set<string>();
  for (const [what, blob, decryption] of [
    // One bit of a file's contents: a sound archive.
    ['changed', changed(plain.blob, 1_000_000), plain],
    ['changed at its end', changed(plain.blob, -1), plain],
    ['changed where it is compressed', changed(zipped.blob, 1_000_000), zipped],
    ['cut', zipped.blob.subarray(0, -100_000), zipped],
    ['longer', Buffer.concat([plain.blob, Buffer.alloc(512)]), plain],
    ['decrypted with another key', plain.blob, { ...plain, key: zipped.key }],
  ] as const) {
    const error = await refusal(blob, decryption);
    assert.equal(codeOf(error), 'MAC_MISMATCH', `${what}: ${textOf(error)}`);
    texts.add(textOf(error).replace(/sha256:[0-9a-f]{64}/, 'DIGEST'));
  }
  assert.deepEqual([...texts], ['decrypting layer DIGEST: could not properly decrypt byte stream: its HMAC does not fit']);
  // What was damaged on its way is that, not a forgery.
  using place = new Workplace();
  const { blob, ...decryption } = plain;
  const damaged = unpack(unpacker, place, changed(blob, 0), { decryption, blobDigest: sha256(blob) });
  assert.equal(await damaged.then(() => '', codeOf), 'BLOB_DIGEST_MISMATCH');
});
