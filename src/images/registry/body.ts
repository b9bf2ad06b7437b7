import type { IncomingMessage } from 'node:http';
import { Failure } from '../../errors/index.ts';

/**
 * The chunks of an answer's body. Silence is counted only while somebody waits for the next chunk: a slow
 * consumer is no stalled registry [p15]. Ends the connection when left early, at an abort, and after `idleMs`
 * without a byte (Unavailable, code STALLED).
 */
export async function* bodyOf(response: IncomingMessage, idleMs: number, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  signal?.throwIfAborted();
  const onAbort = () => response.destroy(new Error('aborted'));
  signal?.addEventListener('abort', onAbort, { once: true });
  let waiting = false;
  const timer = setTimeout(() => {
    if (waiting) response.destroy(stalled(idleMs));
  }, idleMs);
  try {
    const chunks: AsyncIterator<Buffer> = response.iterator({ destroyOnReturn: false });
    for (;;) {
      waiting = true;
      timer.refresh();
      const { done, value } = await chunks.next();
      waiting = false;
      if (done === true) return;
      yield value;
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(timer);
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

function stalled(ms: number): Failure {
  return new Failure('Unavailable', `nothing came for ${ms / 1000} s`, { code: 'STALLED' });
}
