import { Failure, codeOf, textOf } from '../../errors/index.ts';
import type { Digest } from '../../ids/index.ts';
import type { BlobSource } from './blob-source.ts';
import { Assembly } from './chunked/index.ts';
import { COMPRESSION, SNIFFED, decompressed, sniff } from './compression.ts';
import { overLimit } from './failures.ts';
import { LayerSink } from './layer-sink.ts';
import { Meter } from './meter.ts';
import { TarReader } from './tar-reader.ts';
import type { ArchiveCode, BlobParts, Survey, UnpackJob, UnpackedLayer } from './types.ts';

/** What is said before the end. */
export interface Told {
  readonly warn: (message: string) => void;
  readonly onSurvey: (survey: Survey) => void;
}

/**
 * Unpacks one layer, on the thread that calls it: blob → decryption → decompression (libuv's pool), or parts of a blob and
 * files of other layers → diff ID → tar → tree and tar-split. Leaves no descriptor open; what it wrote before a failure stays
 * for the caller to throw away.
 */
export async function unpackLayer(job: UnpackJob, source: BlobSource, told: Told): Promise<UnpackedLayer> {
  const layer = job.parts === undefined ? await unpackWhole(job, source, told) : await unpackParts(job, job.parts, source, told);
  verifyDiffId(job, layer.diffId);
  return layer;
}

async function unpackWhole(job: UnpackJob, source: BlobSource, { warn }: Told): Promise<UnpackedLayer> {
  try {
    const compression = sniff(await source.peek(SNIFFED));
    const { meter: compressed } = source.decryptor ?? source;
    // Uncompressed, that is the digest of the tar: no second hash.
    const diff = compression === 'none' && (job.diffId === undefined || sameAlgorithm(job)) ? undefined : new Meter(job.diffId);
    using sink = new LayerSink(job, warn);
    const contents = await fill(sink, decompressed(compression, source), diff, job);
    const blobDigest = source.meter.digest();
    verifyBlob(job, blobDigest, undefined);
    source.decryptor?.verify(job.blobDigest, undefined);
    const compressedDigest = compressed === source.meter ? blobDigest : compressed.digest();
    return {
      ...contents,
      blobDigest,
      ...(source.decryptor === undefined ? {} : { decryptedDigest: compressedDigest }),
      blobSize: source.meter.bytes,
      diffId: diff?.digest() ?? compressedDigest,
      compression: COMPRESSION[compression],
    };
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
}

/** No blob is seen as a whole here, so the diff ID alone says whether this is the layer. */
async function unpackParts(job: UnpackJob, parts: BlobParts, source: BlobSource, { warn, onSurvey }: Told): Promise<UnpackedLayer> {
  if (job.diffId === undefined) throw new Error('parts of a blob prove nothing without a diff ID');
  using assembly = await Assembly.plan(parts, source);
  onSurvey(assembly.survey);
  const diff = new Meter(job.diffId);
  using sink = new LayerSink(job, warn);
  const contents = await fill(sink, assembly.pieces(source, sink), diff, job);
  return { ...contents, blobDigest: undefined, blobSize: source.meter.bytes, diffId: diff.digest(), compression: COMPRESSION.none };
}

/** Sends an archive into the sink, and past `diff`. */
async function fill(sink: LayerSink, archive: AsyncIterable<Buffer>, diff: Meter | undefined, { limits }: UnpackJob) {
  const reader = new TarReader(sink);
  const limit = limits.maxDiffBytes ?? Number.POSITIVE_INFINITY;
  let diffSize = 0;
  for await (const piece of archive) {
    if ((diffSize += piece.length) > limit) throw overLimit(`the layer is larger than ${limit} bytes`);
    diff?.update(piece);
    reader.push(piece);
    await sink.settled();
  }
  reader.finish();
  await sink.finish();
  return { diffSize, uids: sink.uids, gids: sink.gids };
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
