import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { Failure, textOf } from '../../errors/index.ts';

/** A line holds at most one segment of a megabyte, or a name. */
const MAX_LINE = 8 * 1024 * 1024;

/** A line of a tar-split: bytes of the archive, or a member whose contents (if it has any) stand between them. */
export type TarSplitEntry =
  | { readonly raw: Buffer }
  | {
      readonly raw: undefined;
      /** As in the archive. */
      readonly name: Buffer;
      readonly size: number;
      /** Base64 of the contents' CRC-64; '' for a member without contents. */
      readonly checksum: string;
    };

/**
 * Reads an uncompressed tar-split (docs/reference/cri-o-ondisk.md §4.6) piece by piece. Fails with code BAD_TAR_SPLIT, also for
 * what the source of the bytes fails with, unless that is a Failure.
 */
export async function* readTarSplit(bytes: AsyncIterable<Buffer>): AsyncGenerator<TarSplitEntry> {
  let rest = '';
  try {
    for await (const chunk of bytes) {
      const lines = (rest + chunk.toString('latin1')).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > MAX_LINE) throw broken('a line without an end');
      for (const line of lines) yield parseEntry(line);
    }
  } catch (error) {
    throw error instanceof Failure ? error : broken(textOf(error), error);
  }
  if (rest !== '') yield parseEntry(rest);
}

/** As readTarSplit, of a layer's file. */
export async function* readTarSplitFile(path: string): AsyncGenerator<TarSplitEntry> {
  const gunzip = createGunzip();
  const file = createReadStream(path);
  file.once('error', (error) => gunzip.destroy(error));
  try {
    yield* readTarSplit(file.pipe(gunzip));
  } finally {
    file.destroy();
    gunzip.destroy();
  }
}

function parseEntry(line: string): TarSplitEntry {
  const { type, payload, name, name_raw: raw, size = 0 } = parsed(line);
  if (type === 2 && typeof payload === 'string') return { raw: Buffer.from(payload, 'base64') };
  const bytes = typeof raw === 'string' ? Buffer.from(raw, 'base64') : typeof name === 'string' ? Buffer.from(name) : undefined;
  if (type !== 1 || bytes === undefined || typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw broken(`an odd line: ${line.slice(0, 64)}`);
  return { raw: undefined, name: bytes, size, checksum: typeof payload === 'string' ? payload : '' };
}

/** `line`: UTF-8, one character a byte. */
function parsed(line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(line, 'latin1').toString('utf8'));
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // As below.
  }
  throw broken(`a line that is no JSON object: ${line.slice(0, 64)}`);
}

function broken(how: string, cause?: unknown): Failure {
  return new Failure('Unknown', `its tar-split holds ${how}`, { code: 'BAD_TAR_SPLIT', cause });
}
