import { Failure, textOf } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import { orAborted } from '../sync/index.ts';

export type NetworkStatus = { readonly ready: true } | { readonly ready: false; readonly reason: string };

export interface ReadinessOptions {
  /** Fails with the reason while the network is not usable [H14]. */
  readonly ask: () => Promise<void>;
  /** 0: once ready, ready for ever [H15]. */
  readonly graceMs: number;
  readonly log: Logger;
  /** Runs once, before the first waiter goes on [H55]. */
  readonly onFirstReady: () => Promise<void>;
}

const POLL_MS = 500;
const MONITOR_MS = 5000;

/**
 * Whether pods can get a network [H13–H17, H20]. Until the first success it asks every 500 ms and whenever it is
 * told that something changed; afterwards it asks only with a grace period, every 5 s.
 */
export class Readiness {
  readonly #o: ReadinessOptions;
  #failure: string | undefined = 'plugin status uninitialized';
  #wasReady = false;
  #stopped = false;
  #failingSince: number | undefined;
  #asking: Promise<void> | undefined;
  /** Something changed while it asked: the answer may be about what was before. */
  #again = false;
  #timer: NodeJS.Timeout | undefined;
  #waiters = Promise.withResolvers<void>();

  constructor(o: ReadinessOptions) {
    this.#o = o;
    this.#waiters.promise.catch(() => {});
  }

  start(): void {
    if (this.#o.graceMs <= 0)
      this.#o.log.debug(`Continuous CNI STATUS monitoring is disabled (cni_status_grace_period is ${this.#o.graceMs} ms)`);
    void this.changed();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#timer);
    const before = this.#failure;
    this.#failure = 'CNI manager shut down';
    if (before !== undefined)
      this.#waiters.reject(new Failure('Unavailable', `server shutdown before CNI plugin was ready: ${before}`, { code: 'SHUTDOWN' }));
  }

  status(): NetworkStatus {
    return this.#failure === undefined ? { ready: true } : { ready: false, reason: this.#failure };
  }

  /** Settles when pods can get a network; fails at shutdown [D36] or with the signal's reason. */
  async whenReady(signal?: AbortSignal): Promise<void> {
    if (this.#failure === undefined) return;
    if (this.#stopped)
      throw new Failure('Unavailable', `server shutdown before CNI plugin was ready: ${this.#failure}`, { code: 'SHUTDOWN' });
    await orAborted(this.#waiters.promise, signal);
  }

  /** Asks now, unless it is asking or the answer can no longer matter. */
  async changed(): Promise<void> {
    if (this.#stopped || (this.#wasReady && this.#o.graceMs <= 0)) return;
    this.#again = this.#asking !== undefined;
    await (this.#asking ??= this.#ask());
  }

  async #ask(): Promise<void> {
    clearTimeout(this.#timer);
    do {
      this.#again = false;
      try {
        await this.#o.ask();
        await this.#succeeded();
      } catch (error) {
        this.#failed(textOf(error));
      }
    } while (this.#again && !this.#stopped && this.#failure !== undefined);
    this.#asking = undefined;
    if (this.#stopped || (this.#wasReady && this.#o.graceMs <= 0)) return;
    this.#timer = setTimeout(() => void this.changed(), this.#wasReady ? MONITOR_MS : POLL_MS);
    this.#timer.unref();
  }

  async #succeeded(): Promise<void> {
    this.#failingSince = undefined;
    if (this.#failure === undefined || this.#stopped) return;
    this.#o.log.info(`CNI plugin is now healthy (was: ${this.#failure})`);
    if (!this.#wasReady) await this.#o.onFirstReady();
    if (this.#stopped) return;
    this.#wasReady = true;
    this.#failure = undefined;
    this.#waiters.resolve();
  }

  #failed(reason: string): void {
    if (this.#stopped) return;
    if (this.#failure === undefined) {
      this.#failingSince ??= this.#firstFailure(reason);
      if (performance.now() - this.#failingSince < this.#o.graceMs) return;
      this.#o.log.error(`CNI plugin unhealthy beyond grace period (${this.#o.graceMs} ms): ${reason}`);
      this.#waiters = Promise.withResolvers<void>();
      this.#waiters.promise.catch(() => {});
    }
    this.#failure = reason;
  }

  #firstFailure(reason: string): number {
    this.#o.log.warn(`CNI plugin status check failed, will report unhealthy after grace period (${this.#o.graceMs} ms): ${reason}`);
    return performance.now();
  }
}
