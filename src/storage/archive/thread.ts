import { Worker } from 'node:worker_threads';
import { Failure, revivedFailure } from '../../errors/index.ts';
import { workerUrl } from '../../workers/index.ts';
import { BlobFeeder } from './feeder.ts';
import type { FromWorker, Spoken, ToWorker } from './protocol.ts';
import type { Survey, UnpackJob, UnpackedLayer } from './types.ts';

/** One layer on a thread. */
interface Run {
  readonly feeder: BlobFeeder;
  readonly warn: (text: string) => void;
  readonly onSurvey: (survey: Survey) => void;
  readonly settle: (outcome: UnpackedLayer | Error) => void;
}

/** A worker thread that unpacks layers, several at a time. Keeps the process alive only while it works. */
export class UnpackThread {
  readonly #worker: Worker;
  readonly #runs = new Map<number, Run>();
  #lastRun = 0;
  #lost: Error | undefined;

  constructor() {
    this.#worker = new Worker(workerUrl(import.meta.url, './unpack.worker.ts'), {
      name: 'unpack',
      resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 1024 },
    });
    this.#worker.on('message', (message: FromWorker) => this.#onMessage(message));
    this.#worker.on('error', (error) =>
      this.#onLost(new Failure('Internal', `the unpacking thread failed: ${String(error)}`, { cause: error })),
    );
    this.#worker.on('exit', () => this.#onLost(new Failure('Internal', 'the unpacking thread ended while it worked')));
    this.#worker.unref();
  }

  /** False after the thread died; it must not be used again then. */
  get usable(): boolean {
    return this.#lost === undefined;
  }

  /** Layers under way. */
  get load(): number {
    return this.#runs.size;
  }

  /**
   * Settles only when the thread has let go of the job's files, whatever the outcome. A fired signal rejects with its
   * reason, a failing blob with its error.
   */
  async run(
    job: UnpackJob,
    blob: AsyncIterable<Uint8Array>,
    o: Pick<Run, 'warn' | 'onSurvey'> & { readonly signal: AbortSignal; readonly onProgress: (bytes: number) => void },
  ): Promise<UnpackedLayer> {
    if (this.#lost !== undefined) throw this.#lost;
    const { promise, resolve, reject } = Promise.withResolvers<UnpackedLayer>();
    const run = ++this.#lastRun;
    const send = (message: Spoken, transfer: ArrayBuffer[] = []) =>
      this.#worker.postMessage({ ...message, run } satisfies ToWorker, transfer);
    const feeder = new BlobFeeder(send, o.onProgress);
    const settle = (outcome: UnpackedLayer | Error) => (outcome instanceof Error ? reject(outcome) : resolve(outcome));
    this.#runs.set(run, { feeder, warn: o.warn, onSurvey: o.onSurvey, settle });
    let stopped: { readonly reason: unknown } | undefined;
    const abort = (reason: unknown) => {
      if (!this.#runs.has(run)) return;
      stopped ??= { reason };
      send({ kind: 'abort' });
    };
    const onAbort = () => abort(o.signal.reason);
    this.#worker.ref();
    send({ kind: 'job', job });
    if (o.signal.aborted) onAbort();
    else o.signal.addEventListener('abort', onAbort, { once: true });
    feeder.feed(blob).catch(abort);
    try {
      return await promise;
    } catch (error) {
      throw stopped === undefined ? error : stopped.reason;
    } finally {
      o.signal.removeEventListener('abort', onAbort);
      feeder.stop();
      this.#runs.delete(run);
      if (this.#runs.size === 0) this.#worker.unref();
    }
  }

  /** Ends an idle thread. */
  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #onMessage(message: FromWorker): void {
    const run = this.#runs.get(message.run);
    switch (message.kind) {
      case 'taken':
        return run?.feeder.taken(message.buffer, message.length);
      case 'warning':
        return run?.warn(message.text);
      case 'survey':
        return run?.onSurvey(message.survey);
      case 'done':
        return run?.settle(message.layer);
      case 'failed':
        return run?.settle(revivedFailure(message.failure));
      default:
        return message satisfies never;
    }
  }

  #onLost(error: Error): void {
    this.#lost ??= error;
    for (const run of this.#runs.values()) run.settle(this.#lost);
  }
}
