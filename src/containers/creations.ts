import { Failure, codeOf, kindOf, textOf } from '../errors/index.ts';
import { orAborted } from '../sync/index.ts';

/**
 * Creations under way, by name [D16–D26]. A creation is not bound to the request that began it: a client that gives up
 * leaves it running, and its retry with the same name waits for the same work and gets its result. So a name is
 * never "reserved" by somebody who is gone.
 */
export class Creations<T> {
  readonly #running = new Map<string, { readonly result: Promise<T>; readonly progress: Progress }>();

  /** Stage of the creation of that name, if one is under way. */
  stageOf(name: string): { readonly stage: string; readonly sinceMs: number } | undefined {
    return this.#running.get(name)?.progress;
  }

  /** Names of the creations under way. */
  names(): string[] {
    return [...this.#running.keys()];
  }

  /** Settles when every creation that runs now has ended, well or not. */
  async drained(): Promise<void> {
    await Promise.allSettled(Array.from(this.#running.values(), ({ result }) => result));
  }

  async join(name: string, work: (progress: Progress) => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    let running = this.#running.get(name);
    if (running === undefined) {
      const progress = new Progress();
      const result = work(progress).finally(() => this.#running.delete(name));
      result.catch(() => {}); // Whoever waits gets the error; nobody may be left.
      this.#running.set(name, (running = { result, progress }));
    }
    try {
      return await orAborted(running.result, signal);
    } catch (error) {
      if (signal?.aborted !== true || error !== signal.reason) throw error;
      throw stalled(running.progress, error);
    }
  }
}

/** Where a creation is: CRI-O's stage names [D24, D25]. */
export class Progress {
  stage = 'unknown';
  sinceMs = Date.now();

  enter(stage: string): void {
    this.stage = stage;
    this.sinceMs = Date.now();
  }
}

/** [D22] for a caller that leaves before the work is done. */
function stalled(progress: Progress, reason: unknown): Failure {
  const seconds = ((Date.now() - progress.sinceMs) / 1000).toFixed(1);
  const code = codeOf(reason);
  return new Failure(
    kindOf(reason),
    `kubelet may be retrying requests that are timing out in CRI-O due to system load. Currently at stage ${progress.stage}: ${textOf(reason)}`,
    {
      cause: reason,
      advice: `The work goes on (for ${seconds} s in this stage); the same request again waits for it and gets its result.`,
      ...(code === undefined ? {} : { code }),
    },
  );
}
