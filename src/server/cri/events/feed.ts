import { Failure } from '../../../errors/index.ts';
import { orAborted } from '../../../sync/index.ts';

export interface FeedLimits {
  /** How many events, and how many bytes of them, may wait for one subscriber. */
  readonly events: number;
  readonly bytes: number;
  /** Milliseconds for which an event is kept that nobody was there to hear. */
  readonly keepMs: number;
}

/** As many as CRI-O's buffer [D221]; the bytes are what a burst on a full node comes to, several times over. */
const LIMITS: FeedLimits = { events: 1000, bytes: 16 << 20, keepMs: 60_000 };

/**
 * Encoded events, each to every subscriber, once and in order [D222]. A subscriber that does not keep up is cut off: it must not make
 * the daemon grow, nor lose events without knowing it. What happens while there is no subscriber is kept for a while, and
 * is the next one's: a kubelet that comes back has looked at everything before it subscribes, and would miss what was between.
 */
export class EventFeed {
  readonly #limits: FeedLimits;
  readonly #subscribers = new Set<Subscriber>();
  #unheard: { readonly event: Buffer; readonly atMs: number }[] = [];

  constructor(limits: Partial<FeedLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
  }

  publish(event: Buffer): void {
    for (const subscriber of this.#subscribers) subscriber.push(event);
    if (this.#subscribers.size === 0) this.#keep(event);
  }

  /** Events from now on, until the signal fires. Fails with ResourceExhausted if whoever iterates is too slow. */
  async *subscribe(signal: AbortSignal): AsyncGenerator<Buffer, undefined> {
    const subscriber = new Subscriber(this.#limits, this.#takeUnheard());
    this.#subscribers.add(subscriber);
    try {
      for (;;) {
        for (let event = subscriber.shift(); event !== undefined; event = subscriber.shift()) yield event;
        await orAborted(subscriber.more(), signal);
      }
    } finally {
      this.#subscribers.delete(subscriber);
    }
  }

  #keep(event: Buffer): void {
    const now = Date.now();
    this.#unheard.push({ event, atMs: now });
    let bytes = this.#unheard.reduce((sum, kept) => sum + kept.event.length, 0);
    while (this.#unheard.length > this.#limits.events || bytes > this.#limits.bytes || this.#isOld(now)) {
      bytes -= this.#unheard.shift()?.event.length ?? 0;
    }
  }

  #isOld(now: number): boolean {
    const oldest = this.#unheard[0];
    return oldest !== undefined && now - oldest.atMs > this.#limits.keepMs;
  }

  #takeUnheard(): Buffer[] {
    const now = Date.now();
    while (this.#isOld(now)) this.#unheard.shift();
    const events = this.#unheard.map(({ event }) => event);
    this.#unheard = [];
    return events;
  }
}

/** What waits for one subscriber. */
class Subscriber {
  readonly #limits: FeedLimits;
  #waiting: Buffer[];
  #bytes: number;
  #overrun = false;
  #wake: () => void = () => {};

  constructor(limits: FeedLimits, waiting: Buffer[]) {
    this.#limits = limits;
    this.#waiting = waiting;
    this.#bytes = waiting.reduce((sum, event) => sum + event.length, 0);
  }

  push(event: Buffer): void {
    if (this.#overrun) return;
    if (this.#waiting.length >= this.#limits.events || this.#bytes + event.length > this.#limits.bytes) {
      this.#overrun = true;
      this.#waiting = [];
    } else {
      this.#waiting.push(event);
      this.#bytes += event.length;
    }
    this.#wake();
  }

  shift(): Buffer | undefined {
    if (this.#overrun) {
      throw new Failure(
        'ResourceExhausted',
        `events were not read fast enough: more than ${this.#limits.events} waited, or ${this.#limits.bytes} bytes`,
        {
          advice: 'List pods and containers, and subscribe again.',
        },
      );
    }
    const event = this.#waiting.shift();
    this.#bytes -= event?.length ?? 0;
    return event;
  }

  async more(): Promise<void> {
    if (this.#overrun || this.#waiting.length > 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
  }
}
