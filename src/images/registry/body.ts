import type { IncomingMessage } from 'node:http';
import { Failure } from '../../errors/index.ts';
import { bufferPassed } from '../../streams/index.ts';

/** Less than this in the whole time allowed for silence counts as silence: a trickle is no progress [p14]. */
const LEAST_BYTES = 1024;

/**
 * The chunks of an answer's body. Time is counted only while somebody waits for the next chunk: a slow consumer
 * is no stalled registry [p15]. Ends the connection when left early, at an abort, and after `idleMs` of waiting
 * for next to nothing (Unavailable, code STALLED).
 */
export async function* bodyOf(response: IncomingMessage, idleMs: number, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  signal?.throwIfAborted();
  const onAbort = () => response.destroy(new Error('aborted'));
  signal?.addEventListener('abort', onAbort, { once: true });
  let waitedMs = 0;
  let waitsSince: number | undefined;
  let bytes = 0;
  const watch = setInterval(
    () => {
      if (waitsSince !== undefined && waitedMs + performance.now() - waitsSince >= idleMs) response.destroy(stalled(idleMs));
    },
    Math.max(idleMs / 20, 1),
  );
  try {
    const chunks: AsyncIterator<Buffer, undefined> = response.iterator({ destroyOnReturn: false });
    for (;;) {
      waitsSince = performance.now();
      const next = await chunks.next();
      waitedMs += performance.now() - waitsSince;
      waitsSince = undefined;
      if (next.done === true) return;
      bytes += next.value.length;
      if (bytes >= LEAST_BYTES) waitedMs = bytes = 0;
      yield next.value;
      bufferPassed(next.value.length);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    clearInterval(watch);
    signal?.removeEventListener('abort', onAbort);
    // A body read to its end leaves its connection to the next request; any other is of no use any more.
    if (!response.readableEnded) response.destroy();
  }
}

/** The whole body, at most `max` bytes. Fails with Unknown (TOO_LARGE) for more. */
export async function readBody(response: IncomingMessage, max: number, idleMs: number, signal: AbortSignal | undefined): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of bodyOf(response, idleMs, signal)) {
    bytes += chunk.length;
    if (bytes > max) throw new Failure('Unknown', `exceeded maximum allowed size of ${max} bytes`, { code: 'TOO_LARGE' });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Nobody wants this body: a short one is read, so that its connection can be used again, any other is cut off. */
export function discard(response: IncomingMessage): void {
  const length = Number(response.headers['content-length'] ?? Number.NaN);
  if (length <= 64 * 1024) response.resume();
  else response.destroy();
}

function stalled(ms: number): Failure {
  return new Failure('Unavailable', `nothing came for ${ms / 1000} s`, { code: 'STALLED' });
}
