import type { HexId } from '../../ids/index.ts';
import type { Logger } from '../../log/index.ts';
import type { ChainLayer, LayerStep } from './layers.ts';

const TELL_EVERY_MS = 10_000;

/** What a pull's time is spent on, in this order: manifests and config, signatures and policy, layers, the image's record. */
type PullPart = 'manifest' | 'policy' | 'layers' | 'record';

/** One pull's tale in the log: a line at the start, one every ten seconds of work, one at the end [p16]. */
export class PullStory {
  readonly #log: Logger;
  readonly #started = performance.now();
  readonly #timer: NodeJS.Timeout;
  readonly #layers = new Map<HexId, { readonly size: number; step: LayerStep | 'waiting'; offset: number }>();
  readonly #spentMs = new Map<PullPart, number>();
  #spentUntil = this.#started;
  #toldBytes = 0;

  constructor(log: Logger) {
    this.#log = log;
    this.#timer = setInterval(() => this.#tellProgress(), TELL_EVERY_MS).unref();
  }

  plan(chain: readonly ChainLayer[]): void {
    for (const { id, blob } of chain) this.#layers.set(id, { size: blob.size, step: 'waiting', offset: 0 });
  }

  note(layer: ChainLayer, step: LayerStep, offset: number): void {
    const own = this.#layers.get(layer.id);
    if (own !== undefined) Object.assign(own, { step, offset });
  }

  /** The time since the last part ended went into this one. */
  spentOn(part: PullPart): void {
    const now = performance.now();
    this.#spentMs.set(part, (this.#spentMs.get(part) ?? 0) + now - this.#spentUntil);
    this.#spentUntil = now;
  }

  end(): void {
    clearInterval(this.#timer);
  }

  /** `3 layers, 2 of them new, 34.2 MB in 1.43 s (manifest 0.02 s, layers 1.40 s, record 0.01 s)`, or `… 4.1 of 34.2 MB in …`. */
  summary(): string {
    const states = [...this.#layers.values()];
    const fetched = states.filter(({ step }) => step !== 'reused');
    const came = fetched.reduce((sum, { offset }) => sum + offset, 0);
    const all = fetched.reduce((sum, { size, offset }) => sum + Math.max(size, offset), 0);
    const bytes = came === all ? megabytes(came) : `${megabytes(came).replace(' MB', '')} of ${megabytes(all)}`;
    const spent = [...this.#spentMs].map(([part, ms]) => `${part} ${seconds(ms)}`).join(', ');
    return `${states.length} layers, ${fetched.length} of them new, ${bytes} in ${seconds(performance.now() - this.#started)} (${spent})`;
  }

  #tellProgress(): void {
    const states = [...this.#layers.values()].filter(({ step }) => step !== 'reused');
    if (states.length === 0) return;
    const came = states.reduce((sum, { offset }) => sum + offset, 0);
    const all = states.reduce((sum, { size }) => sum + size, 0);
    const done = states.filter(({ step }) => step === 'committed').length;
    const rate = ((came - this.#toldBytes) / TELL_EVERY_MS) * 1000;
    this.#toldBytes = came;
    this.#log.info(`Pulling: ${megabytes(came)} of ${megabytes(all)} (${megabytes(rate)}/s), ${done} of ${states.length} layers ready`);
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
