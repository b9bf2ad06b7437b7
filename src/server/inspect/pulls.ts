import type { ServerResponse } from 'node:http';
import type { PullProgress } from '../../images/index.ts';

const STAGES = { downloading: 'download', downloaded: 'unpack', committed: 'done', reused: 'done' } as const;
/** A listener that does not read is cut off: progress is a courtesy. */
const UNREAD_BYTES = 256 * 1024;

/**
 * How pulls go, for `GET /v1/pulls`: newline-delimited JSON of each layer's step, for as long as the client listens. CRI has no
 * words for it (p16). Who comes late is first told how things stand.
 */
export class PullBoard {
  readonly #listeners = new Set<ServerResponse>();
  /** Last line of each layer of each pull under way. */
  readonly #pulls = new Map<string, Map<string, string>>();

  /** What a pull of `image` calls; `end` when it is over. */
  begin(image: string): { readonly onProgress: (progress: PullProgress) => void; readonly end: () => void } {
    const layers = new Map<string, string>();
    this.#pulls.set(image, layers);
    const onProgress = (progress: PullProgress) => {
      const line = lineOf(image, progress);
      if (line === undefined || progress.digest === undefined) return;
      layers.set(progress.digest, line);
      for (const listener of this.#listeners) this.#tell(listener, line);
    };
    const end = () => {
      if (this.#pulls.get(image) === layers) this.#pulls.delete(image);
    };
    return { onProgress, end };
  }

  listen(response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.flushHeaders();
    this.#listeners.add(response);
    response.once('close', () => this.#listeners.delete(response));
    for (const layers of this.#pulls.values()) for (const line of layers.values()) this.#tell(response, line);
  }

  #tell(listener: ServerResponse, line: string): void {
    if (listener.writableLength > UNREAD_BYTES) listener.destroy();
    else listener.write(line);
  }
}

function lineOf(image: string, { digest, step, offset, size, from }: PullProgress): string | undefined {
  if (digest === undefined || step === 'resolved' || step === 'recorded') return undefined;
  const reused = step === 'reused' ? { reused: true } : {};
  return `${JSON.stringify({ image, layer: digest, stage: STAGES[step], bytes: offset, total: size, from, ...reused })}\n`;
}
