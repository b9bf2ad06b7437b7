import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure, codeOf, textOf, wrap } from '../../errors/index.ts';
import { type Digest, algorithmOf, hexOf } from '../../ids/index.ts';
import type { ByteRange } from '../../storage/index.ts';
import { type Descriptor, UNKNOWN_SIZE } from '../manifest.ts';
import { bodyOf } from './body.ts';
import type { RegistryClient } from './client.ts';

/** A broken stream is taken up again if this much came since the last time, or if that is long ago [I23]. */
const PROGRESS_BYTES = 1024 * 1024;
const PROGRESS_MS = 60_000;
const RECONNECT_AFTER_MS = 500;

/**
 * A blob's bytes, exactly `size` of them (what the registry says where the manifest does not) but not verified by digest:
 * the unpacker does that. With `range` only those. A connection that
 * breaks or falls silent is replaced by one for the rest [I23, p14]; a server that gives the whole instead of
 * the rest is read over, but not one that knows no ranges where a range is all that is wanted (code NO_RANGES).
 * Fails with `reading blob %s: …`.
 */
export async function* blobStream(
  client: RegistryClient,
  blob: Descriptor,
  signal: AbortSignal,
  range?: ByteRange,
): AsyncGenerator<Buffer> {
  const idleMs = client.stallMs;
  const retries = new Retries();
  let offset = range?.start ?? 0;
  let size = range?.end ?? (blob.size === UNKNOWN_SIZE ? undefined : blob.size);
  for (;;) {
    try {
      const response = await client.blob(blob.digest, { ...range, start: offset }, signal);
      if (range !== undefined && response.statusCode !== 206) throw noRanges(client, response);
      let passOver = offset - startOf(response, offset);
      size ??= lengthOf(response);
      for await (const chunk of bodyOf(response, idleMs, signal)) {
        const rest = chunk.subarray(Math.min(passOver, chunk.length));
        passOver -= chunk.length - rest.length;
        offset += rest.length;
        if (offset > (size ?? offset)) throw tooLong(blob);
        if (rest.length > 0) yield rest;
      }
      if (offset === (size ?? offset)) return;
      throw new Failure('Unavailable', `unexpected EOF after ${offset} of ${size} bytes`, { code: 'TRUNCATED' });
    } catch (error) {
      signal.throwIfAborted();
      // Nothing is missing but the end of the answer.
      if (offset > 0 && offset === size && BROKEN.has(codeOf(error) ?? '')) return;
      if (!retries.isWorthIt(error, offset)) throw givenUp(client, blob, error);
      client.log.info(`Reading blob ${blob.digest} from ${client.host} failed (${textOf(error)}), reconnecting after ${offset} bytes`);
      await sleep(RECONNECT_AFTER_MS, undefined, { signal });
    }
  }
}

/** A small blob as a whole, verified by size and digest. Fails with `reading blob %s: …`. */
export async function readBlob(client: RegistryClient, blob: Descriptor, max: number, signal: AbortSignal): Promise<Buffer> {
  if (blob.size > max)
    throw new Failure('Unknown', `blob ${blob.digest} of ${blob.size} bytes is larger than ${max} bytes`, { code: 'TOO_LARGE' });
  const chunks: Buffer[] = [];
  for await (const chunk of blobStream(client, blob, signal)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  checkDigest(bytes, blob.digest, `reading blob ${blob.digest}: blob digest mismatch`);
  return bytes;
}

/** Fails with Unknown (DIGEST_INVALID) and `message` unless the bytes have the digest [I46, I48]. */
export function checkDigest(bytes: Uint8Array, digest: Digest, message: string): void {
  if (createHash(algorithmOf(digest)).update(bytes).digest('hex') === hexOf(digest)) return;
  throw new Failure('Unknown', message, {
    code: 'DIGEST_INVALID',
    advice: 'The registry, a mirror or a proxy on the way changed the content: pull from another place.',
  });
}

/** Decides whether a broken download goes on, by what came since it broke last. */
class Retries {
  #last: { readonly offset: number; readonly time: number; readonly code: string } | undefined;

  isWorthIt(error: unknown, offset: number): boolean {
    const code = codeOf(error) ?? '';
    if (!BROKEN.has(code)) return false;
    const last = this.#last;
    this.#last = { offset, time: performance.now(), code };
    if (last === undefined || offset - last.offset >= PROGRESS_BYTES) return true;
    // Silence twice in a row is a registry that hangs, however long each silence was.
    if (offset === last.offset || (code === 'STALLED' && last.code === 'STALLED')) return false;
    return performance.now() - last.time >= PROGRESS_MS;
  }
}

/** Codes that blame the connection, not what was said on it. */
const BROKEN: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'STALLED',
  'TRUNCATED',
  'HPE_INVALID_EOF_STATE',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

/** Where an answer begins: 0 for a whole one. */
function startOf(response: IncomingMessage, wanted: number): number {
  if (response.statusCode !== 206) return 0;
  const range = response.headers['content-range'] ?? '';
  const start = /^bytes ([0-9]{1,15})-/.exec(range)?.[1];
  if (start !== undefined && Number(start) <= wanted) return Number(start);
  response.destroy();
  throw new Failure('Unknown', `unexpected Content-Range ${JSON.stringify(range)} at offset ${wanted}`, { code: 'RANGE_INVALID' });
}

/** A length that the registry announces; none for an answer in chunks, which ends by itself. */
function lengthOf(response: IncomingMessage): number | undefined {
  const said = response.headers['content-length'] ?? '';
  return /^[0-9]{1,15}$/.test(said) ? Number(said) : undefined;
}

function noRanges(client: RegistryClient, response: IncomingMessage): Failure {
  response.destroy();
  return new Failure('Unimplemented', `registry ${client.host} does not serve ranges`, { code: 'NO_RANGES' });
}

function tooLong(blob: Descriptor): Failure {
  return new Failure('Unknown', `blob size mismatch: more than the ${blob.size} bytes of its manifest`, { code: 'SIZE_INVALID' });
}

/** With `pull_progress_timeout` a silent registry cancels the pull [I34]; the error says who was silent, and how long [p15]. */
function givenUp(client: RegistryClient, blob: Descriptor, error: unknown): Failure {
  const doing = `reading blob ${blob.digest}`;
  if (codeOf(error) !== 'STALLED') return wrap(doing, error);
  const silent = (ms: number) => `${doing}: registry ${client.host} sent nothing for ${ms / 1000} s`;
  if (client.progressTimeoutMs === 0) return new Failure('Unavailable', silent(2 * client.stallMs), { cause: error, code: 'STALLED' });
  client.log.warn(`Timed out on waiting up to ${goDuration(client.progressTimeoutMs)} for image pull progress updates`);
  return new Failure('Canceled', `${silent(client.progressTimeoutMs)}: context canceled`, {
    cause: error,
    code: 'STALLED',
    advice: 'Look at the registry and the network, or raise pull_progress_timeout.',
  });
}

/** `1m30s`, as Go prints a duration; whole seconds unless it is shorter than one. */
function goDuration(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  const seconds = ms / 1000;
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return `${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds % 60}s`;
}
