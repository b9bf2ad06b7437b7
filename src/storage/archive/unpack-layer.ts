import { Failure, codeOf, textOf } from '../../errors/index.ts';
import type { Digest } from '../../ids/index.ts';
import type { BlobSource } from './blob-source.ts';
import { COMPRESSION, SNIFFED, decompressed, sniff } from './compression.ts';
import { overLimit } from './failures.ts';
import { LayerSink } from './layer-sink.ts';
import { Meter } from './meter.ts';
import { TarReader } from './tar-reader.ts';
import type { ArchiveCode, UnpackJob, UnpackedLayer } from './types.ts';

/**
 * Unpacks one layer, on the thread that calls it: blob → decryption → decompression (libuv's pool) → diff ID → tar →
 * tree and tar-split. Leaves no descriptor open; what it wrote before a failure stays for the caller to throw away.
 */
export async function unpackLayer(job: UnpackJob, source: BlobSource, warn: (message: string) => void): Promise<UnpackedLayer> {
  let layer: UnpackedLayer;
  try {
    layer = await unpack(job, source, warn);
  } catch (error) {
    const code = codeOf(error);
    // A blob that was damaged on its way shows as a broken archive first: what the caller must know is the digest, or the code.
    if (code === ('BAD_ARCHIVE' satisfies ArchiveCode) || code === ('UNSUPPORTED_COMPRESSION' satisfies ArchiveCode)) {
      await source.drain();
      verifyBlob(job, source.meter.digest(), error);
      source.decryptor?.verify(job.blobDigest, error);
    }
    throw error;
  }
  verifyBlob(job, layer.blobDigest, undefined);
  source.decryptor?.verify(job.blobDigest, undefined);
  verifyDiffId(job, layer.diffId);
  return layer;
}

async function unpack(job: UnpackJob, source: BlobSource, warn: (message: string) => void): Promise<UnpackedLayer> {
  const compression = sniff(await source.peek(SNIFFED));
  const { meter: compressed } = source.decryptor ?? source;
  // Uncompressed, that is the digest of the tar: no second hash.
  const diff = compression === 'none' && (job.diffId === undefined || sameAlgorithm(job)) ? undefined : new Meter(job.diffId);
  using sink = new LayerSink(job, warn);
  const reader = new TarReader(sink);
  const limit = job.limits.maxDiffBytes ?? Number.POSITIVE_INFINITY;
  let diffSize = 0;
  for await (const piece of decompressed(compression, source)) {
    if ((diffSize += piece.length) > limit) throw overLimit(`the layer is larger than ${limit} bytes`);
    diff?.update(piece);
    reader.push(piece);
    await sink.settled();
  }
  reader.finish();
  await sink.finish();
  const blobDigest = source.meter.digest();
  const compressedDigest = compressed === source.meter ? blobDigest : compressed.digest();
  return {
    blobDigest,
    ...(source.decryptor === undefined ? {} : { decryptedDigest: compressedDigest }),
    blobSize: source.meter.bytes,
    diffId: diff?.digest() ?? compressedDigest,
    diffSize,
    compression: COMPRESSION[compression],
    uids: sink.uids,
    gids: sink.gids,
  };
}

function sameAlgorithm(job: UnpackJob): boolean {
  return new Meter(job.diffId).algorithm === new Meter(job.blobDigest).algorithm;
}

/** [I48]; `cause`: what the damaged blob looked like before its digest was known. */
function verifyBlob(job: UnpackJob, actual: Digest, cause: unknown): void {
  if (actual === job.blobDigest) return;
  const found = cause === undefined ? '' : ` (${textOf(cause)})`;
  const code: ArchiveCode = 'BLOB_DIGEST_MISMATCH';
  throw new Failure('Unknown', `blob digest mismatch: expected ${job.blobDigest}, got ${actual}${found}`, {
    code,
    advice: 'The blob was changed or cut on its way; pull again, and check the registry or proxy if it comes back.',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** [I48] */
function verifyDiffId(job: UnpackJob, actual: Digest): void {
  if (job.diffId === undefined || actual === job.diffId) return;
  const code: ArchiveCode = 'DIFF_ID_MISMATCH';
  throw new Failure(
    'Unknown',
    `layer (blob ${job.blobDigest}) does not match config's DiffID "${job.diffId}": its contents are ${actual}`,
    {
      code,
      advice: "The image's config and layers do not belong together; build or push the image again.",
    },
  );
}
