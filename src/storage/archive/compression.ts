import { once } from 'node:events';
import type { Transform } from 'node:stream';
import { createGunzip, createZstdDecompress, constants } from 'node:zlib';
import { Failure, codeOf, textOf } from '../../errors/index.ts';
import type { BlobChunk, BlobSource } from './blob-source.ts';
import { bunzip2 } from './bzip2.ts';
import { badArchive } from './failures.ts';
import { unxz } from './xz.ts';

export type CompressionName = 'none' | 'bzip2' | 'gzip' | 'xz' | 'zstd';

/** Numbers of the layer record's `compression`. */
export const COMPRESSION = { none: 0, bzip2: 1, gzip: 2, xz: 3, zstd: 4 } as const satisfies Record<CompressionName, number>;

const MAGIC: readonly (readonly [CompressionName, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b, 0x08]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

/** Bytes that `sniff` wants to see, unless the blob is shorter. */
export const SNIFFED = 6;

/** By the first bytes, as containers/storage does; media types are not asked [cri-o-ondisk §4.3]. */
export function sniff(head: Uint8Array): CompressionName {
  return MAGIC.find(([, magic]) => magic.every((byte, i) => head[i] === byte))?.[0] ?? 'none';
}

/** Bytes of one piece of output: libuv's pool fills the next while the thread works on this one. Less costs a third more CPU, measured. */
const OUTPUT = 512 * 1024;
/** zstd's own default bound, 128 MiB of window (needs a41). */
const MAX_WINDOW_LOG = 27;

interface Engine extends Transform {
  /** Bytes of the input that were understood. */
  readonly bytesWritten: number;
}

/**
 * The uncompressed stream in pieces, each the caller's until it asks for the next. Concatenated gzip members, zstd frames
 * (skippable ones too), bzip2 and xz streams are one stream; what follows them and is none is a Failure, as is a stream cut short.
 */
export function decompressed(name: CompressionName, source: BlobSource): AsyncGenerator<Buffer> {
  switch (name) {
    case 'none':
      return plain(source);
    case 'bzip2':
      return bunzip2(source);
    case 'xz':
      return unxz(source);
    case 'gzip':
    case 'zstd':
      return inflated(name, source);
  }
}

async function* plain(source: BlobSource): AsyncGenerator<Buffer> {
  for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) {
    yield chunk.bytes;
    source.release(chunk);
  }
}

/** By node:zlib, on libuv's pool. */
async function* inflated(name: 'gzip' | 'zstd', source: BlobSource): AsyncGenerator<Buffer> {
  const engine = createEngine(name);
  const feeding = feed(engine, source);
  try {
    for await (const piece of piecesOf(engine)) {
      yield piece;
      free(piece);
    }
    const fed = engine.writableEnded ? await feeding : undefined;
    if (engine.bytesWritten !== fed) throw badArchive(`${name}: data after the end of the compressed stream`);
  } catch (error) {
    const cause = source.aborted ?? error; // An aborted source destroys the engine with a reason of its own.
    throw isEngineError(cause) ? badArchive(`${name}: ${textOf(cause)}`, cause) : cause;
  } finally {
    engine.destroy();
  }
}

function createEngine(name: 'gzip' | 'zstd'): Engine {
  const options = { chunkSize: OUTPUT, readableHighWaterMark: 2 * OUTPUT, writableHighWaterMark: OUTPUT };
  if (name === 'gzip') return createGunzip(options);
  return createZstdDecompress({ ...options, params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG } });
}

/**
 * What the engine puts out, piece by piece as it made them: the stream's own iterator would join those that have
 * gathered. It runs at most two pieces ahead.
 */
async function* piecesOf(engine: Engine): AsyncGenerator<Buffer> {
  const ready: Buffer[] = [];
  let state: { readonly error: Error | undefined } | undefined;
  let wake = Promise.withResolvers<void>();
  engine.on('data', (piece: Buffer) => {
    if (ready.push(piece) > 1) engine.pause();
    wake.resolve();
  });
  const end = (error?: Error) => {
    state ??= { error };
    wake.resolve();
  };
  engine
    .once('end', () => end())
    .once('error', end)
    .once('close', () => end());
  for (;;) {
    for (let piece = ready.shift(); piece !== undefined; piece = ready.shift()) yield piece;
    if (state?.error !== undefined) throw state.error;
    if (state !== undefined) return;
    engine.resume();
    await wake.promise;
    wake = Promise.withResolvers<void>();
  }
}

/**
 * Gives the memory of a used piece back now: V8 would gather 64 MB a thread before it looks. A piece that reaches to
 * its buffer's end was the last of it, so the engine has taken another buffer by now.
 */
function free({ buffer, byteOffset, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && byteOffset + byteLength === buffer.byteLength && buffer.byteLength === OUTPUT) buffer.transfer(0);
}

/** Answers the bytes fed. Ends by itself when the engine is gone; an aborted source destroys it. */
async function feed(engine: Engine, source: BlobSource): Promise<number> {
  const { promise: gone, resolve } = Promise.withResolvers<undefined>();
  engine.once('close', () => resolve(undefined));
  let fed = 0;
  try {
    for (;;) {
      const chunk: BlobChunk | undefined = await Promise.race([source.next(), gone]);
      if (chunk === undefined || engine.destroyed) break;
      fed += chunk.bytes.length;
      if (!engine.write(chunk.bytes, () => source.release(chunk))) await Promise.race([once(engine, 'drain').catch(() => {}), gone]);
    }
    if (!engine.destroyed) engine.end();
  } catch (error) {
    engine.destroy(error instanceof Error ? error : new Error(String(error)));
  }
  return fed;
}

/** Errors of node:zlib have a code `Z_…`, `ZSTD_…` or `ERR_…`. */
function isEngineError(error: unknown): boolean {
  return !(error instanceof Failure) && /^(Z_|ZSTD_|ERR_)/.test(codeOf(error) ?? '');
}
