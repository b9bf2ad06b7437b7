import { createHash } from 'node:crypto';
import { setImmediate as breathe } from 'node:timers/promises';
import { constants, createZstdDecompress, zstdDecompressSync } from 'node:zlib';
import { Failure, textOf } from '../../../errors/index.ts';
import { type Digest, algorithmOf, hexOf, sha256 } from '../../../ids/index.ts';
import type { BlobSource } from '../blob-source.ts';
import { overLimit } from '../failures.ts';
import { type TarSplitEntry, readTarSplit } from '../tar-split-reader.ts';
import type { ArchiveCode, BlobParts, ByteRange, Survey } from '../types.ts';
import { type Wanted, contentsOf, findOrigins, openOrigin } from './origins.ts';
import { RangeReader, joined } from './ranges.ts';
import { type TocFile, parseToc } from './toc.ts';
import { unsuitable } from './unsuitable.ts';

/** A file of the layer with contents, and where they come from: `origin`, else the blob. */
interface Part extends Wanted {
  readonly file: TocFile;
}

/**
 * Takes contents of `size` bytes, which come next, from an open file into the file that was begun last, where it can; `mayLink`: that
 * file may become a name of the open one.
 */
export interface ContentsSharer {
  share(fd: number, size: number, mayLink: boolean): void;
}

const ZEROS = Buffer.alloc(512 * 1024);
const BREATHE_EVERY = 64 * 1024 * 1024;
/** As for whole blobs: 128 MiB. */
const MAX_WINDOW_LOG = 27;

/**
 * Puts the archive of a zstd:chunked layer together from its tar-split, files of other layers and the rest of the blob. Whatever
 * table of contents and store say, the result counts only if it has the diff ID: so the layer is the one that the whole blob makes.
 */
export class Assembly implements Disposable {
  readonly #blob: BlobParts;
  readonly #parts: readonly Part[];
  readonly #roots: DisposableStack;
  readonly survey: Survey;

  private constructor(blob: BlobParts, parts: readonly Part[], roots: DisposableStack) {
    this.#blob = blob;
    this.#parts = parts;
    this.#roots = roots;
    const found = parts.filter(({ origin }) => origin !== undefined).length;
    this.survey = { ranges: rangesOf(parts), files: parts.length, found };
  }

  /** Looks what is here and what has to be fetched. Fails with code UNSUITABLE where the blob has to be fetched as a whole. */
  static async plan(blob: BlobParts, source: BlobSource): Promise<Assembly> {
    using roots = new DisposableStack();
    const parts = await partsOf(blob);
    await findOrigins(parts, blob.layers, roots, () => source.throwIfAborted());
    return new Assembly(blob, parts, roots.move());
  }

  /** The archive, piece by piece; `source` has the survey's ranges, one after the other. A piece is good until the next is asked for. */
  async *pieces(source: BlobSource, sharer: ContentsSharer): AsyncGenerator<Buffer> {
    const reader = new RangeReader(source, this.survey.ranges);
    const parts = this.#parts.values();
    for await (const entry of tarSplitOf(this.#blob)) {
      if (entry.raw !== undefined) yield entry.raw;
      else if (entry.size > 0) {
        const part = parts.next().value;
        if (part === undefined) throw new Error('the tar-split has more files than before');
        yield* part.origin === undefined ? fetched(part.file, reader) : this.#shared(part, source, sharer);
      }
    }
    await source.drain();
  }

  [Symbol.dispose](): void {
    this.#roots[Symbol.dispose]();
  }

  async *#shared({ origin, size }: Part, source: BlobSource, sharer: ContentsSharer): AsyncGenerator<Buffer> {
    using file = origin === undefined ? undefined : openOrigin(origin, size);
    if (file === undefined) throw unsuitable('a file of another layer went away while it was needed');
    sharer.share(file.fd, size, this.#blob.hardLinks && origin?.isForeign === false);
    let read = 0;
    for (const piece of contentsOf(file.fd)) {
      yield piece;
      source.throwIfAborted();
      if ((read += piece.length) % BREATHE_EVERY === 0) await breathe();
    }
  }
}

/** Every file with contents in the archive's order, and what the table of contents knows of it. */
async function partsOf(blob: BlobParts): Promise<Part[]> {
  if (sha256(blob.toc) !== blob.tocDigest) throw unsuitable(`its table of contents has another digest than ${blob.tocDigest}`);
  const toc = parseToc(unpacked(blob.toc, blob.tocSize).toString('utf8'), blob.blobSize);
  if (toc.tarSplitDigest !== sha256(blob.tarSplit)) throw unsuitable('its tar-split has another digest than its table of contents says');
  const parts: Part[] = [];
  for await (const entry of tarSplitOf(blob)) {
    if (entry.raw !== undefined || entry.size === 0) continue;
    const name = entry.name.toString('utf8');
    const file = toc.files.get(name);
    if (file?.size !== entry.size) throw unsuitable(`its table of contents does not know ${JSON.stringify(name)} as its tar-split does`);
    parts.push({ file, size: file.size, digest: file.digest, checksum: entry.checksum, origin: undefined });
  }
  return parts;
}

function rangesOf(parts: readonly Part[]): ByteRange[] {
  const chunks = parts.flatMap(({ file, origin }) => (origin === undefined ? file.chunks : []));
  return joined(chunks.flatMap(({ offset: start, end, digest }) => (digest === undefined ? [] : [{ start, end }])));
}

async function* fetched(file: TocFile, reader: RangeReader): AsyncGenerator<Buffer> {
  for (const { offset, end, size, digest } of file.chunks) {
    if (digest !== undefined) yield unpackedChunk(await reader.take(offset, end - offset), size, digest, offset);
    else for (let left = size; left > 0; left -= ZEROS.length) yield ZEROS.subarray(0, left);
  }
}

function unpackedChunk(frame: Buffer, size: number, digest: Digest, offset: number): Buffer {
  const bytes = unpacked(frame, size);
  if (createHash(algorithmOf(digest)).update(bytes).digest('hex') === hexOf(digest)) return bytes;
  const code: ArchiveCode = 'BLOB_DIGEST_MISMATCH';
  throw new Failure('Unknown', `its part at byte ${offset} does not have the digest ${digest}`, { code });
}

/** `size`: what must come out. */
function unpacked(bytes: Uint8Array, size: number): Buffer {
  let result: Buffer;
  try {
    result = zstdDecompressSync(bytes, { maxOutputLength: Math.max(size, 1), params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG } });
  } catch (error) {
    throw unsuitable(`a part of it cannot be unpacked: ${textOf(error)}`, error);
  }
  if (result.length !== size) throw unsuitable(`a part of it unpacks to ${result.length} bytes, not ${size}`);
  return result;
}

async function* tarSplitOf(blob: BlobParts): AsyncGenerator<TarSplitEntry> {
  const engine = createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG } });
  engine.end(blob.tarSplit);
  yield* readTarSplit(bounded(engine, blob.tarSplitSize));
}

async function* bounded(bytes: AsyncIterable<Buffer>, max: number): AsyncGenerator<Buffer> {
  let size = 0;
  for await (const piece of bytes) {
    if ((size += piece.length) > max) throw overLimit(`its tar-split is larger than the ${max} bytes that were announced`);
    yield piece;
  }
}
