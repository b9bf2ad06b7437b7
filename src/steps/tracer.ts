import { textOf } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import { Operation, type Subject, type Witness } from './operation.ts';
import { within } from './step.ts';

/** What takes longer is told in the log, and again whenever it has taken twice as long (p44). */
const SLOW_MS = 30_000;
/** Operations kept of one pod, the oldest of the pod's containers go first. */
const KEPT_OF_POD = 24;
/** Pods that are no more whose end can still be looked at. */
const KEPT_GONE = 16;

/**
 * The operations under way and the latest ones of each pod: what `crio inspect --timeline` and `crio status operations` show.
 * Every operation that takes long says so in the log, with the step it is at.
 */
export class Tracer {
  readonly #log: Logger;
  readonly #witness: Witness | undefined;
  readonly #running = new Set<Operation>();
  readonly #ofPods = new Map<string, Operation[]>();
  readonly #gone: string[] = [];

  constructor(log: Logger, witness?: Witness) {
    this.#log = log;
    this.#witness = witness;
  }

  /** Runs `work` as the operation `name` (an RPC's) on `subject`; its steps are kept. */
  async operation<T>(name: string, subject: Subject, work: () => Promise<T>): Promise<T> {
    const operation = new Operation(name, subject, this.#witness);
    this.#running.add(operation);
    const timer = this.#watch(operation, SLOW_MS);
    try {
      const result = await within(operation, work);
      operation.finish();
      return result;
    } catch (error) {
      operation.finish(textOf(error));
      throw error;
    } finally {
      timer.stop();
      this.#running.delete(operation);
      if (!operation.idle) this.#keep(operation);
      this.#log.debug(`${name} of ${spoken(subject)} took ${Math.round(operation.endMs ?? 0)} ms`);
    }
  }

  /** Under way, the longest first. */
  running(): readonly Operation[] {
    return [...this.#running];
  }

  /** The kept operations of a pod and its containers, and those under way, in the order of their begin. */
  of(podId: string): readonly Operation[] {
    const running = [...this.#running].filter(({ subject }) => subject.pod === podId);
    return [...(this.#ofPods.get(podId) ?? []), ...running].toSorted((a, b) => a.startedAt - b.startedAt);
  }

  /** A pod that is no more: its timeline stays for a while. */
  forget(podId: string): void {
    this.#gone.push(podId);
    if (this.#gone.length > KEPT_GONE) this.#ofPods.delete(this.#gone.shift() ?? '');
  }

  #keep(operation: Operation): void {
    const { pod } = operation.subject;
    const kept = this.#ofPods.get(pod) ?? [];
    kept.push(operation);
    // The pod's own start stays: it is what is asked for most.
    if (kept.length > KEPT_OF_POD) kept.splice(1, 1);
    this.#ofPods.set(pod, kept);
  }

  #watch(operation: Operation, afterMs: number): { stop(): void } {
    let timer: NodeJS.Timeout;
    const wait = (ms: number) => {
      timer = setTimeout(() => {
        const current = operation.current;
        const where = current === undefined ? '' : `, for ${seconds(current.forMs)} in the step "${current.step}"`;
        this.#log.warn(`${operation.name} of ${spoken(operation.subject)} has been running for ${seconds(operation.elapsedMs)}${where}`);
        wait(ms * 2);
      }, ms);
      timer.unref();
    };
    wait(afterMs);
    return { stop: () => clearTimeout(timer) };
  }
}

function spoken({ pod, container, name }: Subject): string {
  return container === undefined ? `pod ${pod} (${name})` : `container ${container} (${name})`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
