import { type Digest, parseDigest } from '../../../ids/index.ts';
import { unsuitable } from './unsuitable.ts';

/** A piece of a file, compressed for itself: bytes `offset`…`end` of the blob (exclusive) unpack to `size` bytes with `digest`. */
export interface Chunk {
  readonly offset: number;
  readonly end: number;
  readonly size: number;
  /** undefined: nothing but zeros, which need not be fetched. */
  readonly digest: Digest | undefined;
}

/** The contents of a file, in order; the chunks' sizes add up to `size`. */
export interface TocFile {
  readonly size: number;
  readonly digest: Digest;
  readonly chunks: readonly Chunk[];
}

export interface Toc {
  /** Files that are not empty, by their name in the archive (UTF-8). */
  readonly files: ReadonlyMap<string, TocFile>;
  /** Of the compressed tar-split in the blob. */
  readonly tarSplitDigest: Digest | undefined;
}

/** A chunk is held in memory as a whole; those of Go's tools are about 64 KiB. */
const MAX_CHUNK = 64 * 1024 * 1024;

type Table = Readonly<Record<string, unknown>>;

/**
 * Parses the table of contents of a zstd:chunked blob of which `blobSize` bytes may be pointed to. What members are apart from
 * their contents stands in the tar-split, so nothing else is read. Fails with code UNSUITABLE for what cannot be fetched by it.
 */
export function parseToc(json: string, blobSize: number): Toc {
  const table = tableOf(parsed(json));
  if (table['version'] !== 1) throw unsuitable(`its table of contents has the version ${JSON.stringify(table['version'])}`);
  const { entries } = table;
  if (!Array.isArray(entries)) throw unsuitable('its table of contents has no entries');
  const files = new Map<string, TocFile>();
  for (let index = 0; index < entries.length; index++) {
    const entry = tableOf(entries[index]);
    if (entry['type'] !== 'reg' || entry['size'] === 0 || entry['size'] === undefined) continue;
    const chunks = [entry];
    for (; isChunk(entries[index + 1]); index++) chunks.push(tableOf(entries[index + 1]));
    const { name } = entry;
    if (typeof name !== 'string') throw unsuitable('a file of its table of contents has no name');
    files.set(name, fileOf(name, chunks, blobSize));
  }
  return { files, tarSplitDigest: digestOf(table['tarSplitDigest']) };
}

/** The first of `pieces` describes the file too; the end of a piece is where the next begins. */
function fileOf(name: string, pieces: readonly Table[], blobSize: number): TocFile {
  const [main] = pieces;
  const digest = digestOf(main?.['digest']);
  const size = numberOf(main?.['size']);
  if (digest === undefined || size === undefined) throw unsuitable(`its table of contents has no digest for ${JSON.stringify(name)}`);
  let at = 0;
  const chunks = pieces.map((piece, index): Chunk => {
    const next = pieces[index + 1];
    const offset = numberOf(piece['offset']);
    const end = numberOf(next === undefined ? (main?.['endOffset'] ?? 0) : next['offset']);
    const length = pieces.length === 1 ? size : numberOf(piece['chunkSize']);
    const isZeros = piece['chunkType'] === 'zeros';
    const own = pieces.length === 1 ? digest : digestOf(piece['chunkDigest']);
    const isSound =
      offset !== undefined &&
      end !== undefined &&
      length !== undefined &&
      numberOf(piece['chunkOffset'] ?? 0) === at &&
      (isZeros || own !== undefined);
    if (!isSound || end < offset || end > blobSize || length > (isZeros ? size : MAX_CHUNK) || end - offset > 2 * MAX_CHUNK)
      throw unsuitable(`its table of contents does not tell where ${JSON.stringify(name)} is`);
    at += length;
    return { offset, end, size: length, digest: isZeros ? undefined : own };
  });
  if (at !== size) throw unsuitable(`its table of contents has ${at} of the ${size} bytes of ${JSON.stringify(name)}`);
  return { size, digest, chunks };
}

function isChunk(entry: unknown): boolean {
  return tableOf(entry ?? {})['type'] === 'chunk';
}

function digestOf(value: unknown): Digest | undefined {
  return typeof value === 'string' ? parseDigest(value) : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function tableOf(value: unknown): Table {
  if (typeof value !== 'object' || value === null) throw unsuitable('its table of contents is no such table');
  return value as Table;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw unsuitable('its table of contents is no JSON', error);
  }
}
