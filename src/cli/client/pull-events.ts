/** Progress of pulls, which CRI has no words for: newline-delimited JSON over HTTP/1 on the daemon's own socket. */
import { type IncomingMessage, get } from 'node:http';
import { createInterface } from 'node:readline';
import type { PullEvent } from '../render/index.ts';

const PATH = '/v1/pulls';

/**
 * Events of the pull of `image`, until the signal fires or the daemon ends the stream. A runtime that does not offer
 * them (404, no HTTP/1 at all) yields an empty sequence: progress is a courtesy, never a reason to fail.
 */
export async function* pullEvents(socket: string, image: string, signal: AbortSignal): AsyncGenerator<PullEvent> {
  try {
    const response = await request(socket, signal);
    if (response.statusCode !== 200) {
      response.destroy();
      return;
    }
    for await (const line of createInterface({ input: response, signal })) {
      const event = parsePullEvent(line, image);
      if (event !== undefined) yield event;
    }
  } catch {
    // See above: whatever went wrong here, the pull itself tells.
  }
}

function request(socket: string, signal: AbortSignal): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  get({ socketPath: socket, path: PATH, signal, agent: false }, resolve).once('error', reject);
  return promise;
}

/** One line of the stream; undefined if it is of another image, or nothing that we understand. */
export function parsePullEvent(line: string, image: string): PullEvent | undefined {
  const event = parseObject(line);
  if (event === undefined) return undefined;
  const { image: of, layer, stage, bytes, total, from, reused } = event;
  if (typeof of !== 'string' || fullReference(of) !== fullReference(image) || typeof layer !== 'string') return undefined;
  if (stage !== 'download' && stage !== 'unpack' && stage !== 'done') return undefined;
  return { layer, stage, bytes: size(bytes), total: size(total), from: typeof from === 'string' ? from : '', isReused: reused === true };
}

function parseObject(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return value !== null && typeof value === 'object' ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function size(value: unknown): number {
  return typeof value === 'number' && value > 0 ? value : 0;
}

/** `busybox` and `docker.io/library/busybox:latest` are one image; enough to compare by, nothing is pulled by it. */
function fullReference(reference: string): string {
  const [first = '', ...rest] = reference.split('/');
  const hasHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  const path = hasHost ? rest.join('/') : reference;
  const host = hasHost ? first : 'docker.io';
  const repository = host === 'docker.io' && !path.includes('/') ? `library/${path}` : path;
  return `${host}/${repository}${/[:@][^/]*$/.test(repository) ? '' : ':latest'}`;
}
