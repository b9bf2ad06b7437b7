import type { Logger } from '../../log/index.ts';
import type { ChainLayer, LayerStep } from './layers.ts';

const TELL_EVERY_MS = 10_000;

/** One pull's tale in the log: a line at the start, one every ten seconds of work, one at the end [p16]. */
export class PullStory {
  readonly #log: Logger;
  readonly #started = performance.now();
  readonly #timer: NodeJS.Timeout;
  readonly #layers = new Map<ChainLayer, { step: LayerStep | 'waiting'; offset: number }>();
  #toldBytes = 0;

  constructor(log: Logger) {
    this.#log = log;
    this.#timer = setInterval(() => this.#tellProgress(), TELL_EVERY_MS).unref();
  }

  plan(chain: readonly ChainLayer[]): void {
    for (const layer of chain) this.#layers.set(layer, { step: 'waiting', offset: 0 });
  }

  note(layer: ChainLayer, step: LayerStep, offset: number): void {
    const own = [...this.#layers.keys()].find((known) => known.id === layer.id);
    if (own !== undefined) this.#layers.set(own, { step, offset });
  }

  end(): void {
    clearInterval(this.#timer);
  }

  /** `3 layers, 2 of them new, 34.2 MB in 1.4 s`. */
  summary(): string {
    const states = [...this.#layers.entries()];
    const fetched = states.filter(([, state]) => state.step !== 'reused');
    const bytes = fetched.reduce((sum, [layer]) => sum + layer.blob.size, 0);
    const seconds = (performance.now() - this.#started) / 1000;
    return `${states.length} layers, ${fetched.length} of them new, ${megabytes(bytes)} in ${seconds.toFixed(1)} s`;
  }

  #tellProgress(): void {
    const states = [...this.#layers.entries()].filter(([, { step }]) => step !== 'reused');
    if (states.length === 0) return;
    const came = states.reduce((sum, [, state]) => sum + state.offset, 0);
    const all = states.reduce((sum, [layer]) => sum + layer.blob.size, 0);
    const done = states.filter(([, { step }]) => step === 'committed').length;
    const rate = ((came - this.#toldBytes) / TELL_EVERY_MS) * 1000;
    this.#toldBytes = came;
    this.#log.info(`Pulling: ${megabytes(came)} of ${megabytes(all)} (${megabytes(rate)}/s), ${done} of ${states.length} layers ready`);
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
