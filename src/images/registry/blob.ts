import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { createHash } from 'node:crypto';
import { Failure, codeOf, textOf, wrap } from '../../errors/index.ts';
import { type Digest, algorithmOf, hexOf } from '../../ids/index.ts';
import type { Descriptor } from '../manifest.ts';
import { bodyOf } from './body.ts';
import type { RegistryClient } from './client.ts';

/** A broken stream is taken up again if this much came since the last time, or if that is long ago [I23]. */
const PROGRESS_BYTES = 1024 * 1024;
const PROGRESS_MS = 60_000;
const RECONNECT_AFTER_MS = 500;

/**
 * A blob's bytes, exactly `size` of them but not verified by digest: the unpacker does that. A connection that
 * breaks or falls silent is replaced by one for the rest [I23, p14]; a server that gives the whole instead of
 * the rest is read over. Fails with `reading blob %s: …`.
 */
export async function* blobStream(client: RegistryClient, blob: Descriptor, signal: AbortSignal): AsyncGenerator<Buffer> {
  let offset = 0;
  let retriedAt: { readonly offset: number; readonly time: number } | undefined;
  for (;;) {
    try {
      const response = await client.blob(blob.digest, offset, signal);
      let passOver = offset - startOf(response, offset);
      for await (const chunk of bodyOf(response, client.idleMs, signal)) {
        const rest = passOver === 0 ? chunk : chunk.subarray(Math.min(passOver, chunk.length));
        passOver -= chunk.length - rest.length;
        offset += rest.length;
        if (offset > blob.size)
          throw new Failure('Unknown', `blob size mismatch: more than the ${blob.size} bytes of its manifest`, { code: 'SIZE_INVALID' });
        if (rest.length > 0) yield rest;
      }
      if (offset === blob.size) return;
      throw new Failure('Unavailable', `unexpected EOF after ${offset} of ${blob.size} bytes`, { code: 'TRUNCATED' });
    } catch (error) {
      signal.throwIfAborted();
      const progress = offset - (retriedAt?.offset ?? 0);
      const isWorthIt = retriedAt === undefined || progress >= PROGRESS_BYTES || performance.now() - retriedAt.time >= PROGRESS_MS;
      if (!isBroken(error) || !isWorthIt || (retriedAt !== undefined && progress === 0)) throw wrap(`reading blob ${blob.digest}`, error);
      client.log.info(`Reading blob ${blob.digest} from ${client.host} failed (${textOf(error)}), reconnecting after ${offset} bytes`);
      retriedAt = { offset, time: performance.now() };
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
  if (createHash(algorithmOf(digest)).update(bytes).digest('hex') !== hexOf(digest))
    throw new Failure('Unknown', message, {
      code: 'DIGEST_INVALID',
      advice: 'The registry, a mirror or a proxy on the way changed the content: pull by digest from another place.',
    });
}

/** Where an answer begins: 0 for a whole one. */
function startOf(response: IncomingMessage, wanted: number): number {
  if (response.statusCode !== 206) return 0;
  const start = /^bytes ([0-9]{1,15})-/.exec(response.headers['content-range'] ?? '')?.[1];
  if (start === undefined || Number(start) > wanted) {
    response.destroy();
    throw new Failure(
      'Unknown',
      `unexpected Content-Range ${JSON.stringify(response.headers['content-range'] ?? '')} at offset ${wanted}`,
      {
        code: 'RANGE_INVALID',
      },
    );
  }
  return Number(start);
}

/** Whether the connection is to blame rather than what was said on it. */
function isBroken(error: unknown): boolean {
  return ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'STALLED', 'TRUNCATED', 'HPE_INVALID_EOF_STATE', 'ERR_STREAM_PREMATURE_CLOSE'].includes(
    codeOf(error) ?? '',
  );
}
