/** The middle of the samples; the mean of the two middle ones if their number is even. */
export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const low = sorted[Math.ceil(middle) - 1] ?? Number.NaN;
  const high = sorted[Math.floor(middle)] ?? Number.NaN;
  return (low + high) / 2;
}

/** Raw samples of every figure for every peer. */
export class Samples {
  readonly #samples = new Map<string, Map<string, number[]>>();

  add(figure: string, peer: string, value: number): void {
    let peers = this.#samples.get(figure);
    if (peers === undefined) this.#samples.set(figure, (peers = new Map<string, number[]>()));
    const samples = peers.get(peer);
    if (samples === undefined) peers.set(peer, [value]);
    else samples.push(value);
  }

  /** `{pod_up: {ours: 0.11, containerd: 0.2}}` */
  medians(): Record<string, Record<string, number>> {
    return this.#map((samples) => median(samples));
  }

  raw(): Record<string, Record<string, number[]>> {
    return this.#map((samples) => samples);
  }

  /** `{pod_up: {containerd: 0.55}}`: ours divided by the other's, so less than 1 is better. */
  ratios(): Record<string, Record<string, number>> {
    const ratios: Record<string, Record<string, number>> = {};
    for (const [figure, { ours, ...others }] of Object.entries(this.medians())) {
      if (ours === undefined) continue;
      ratios[figure] = Object.fromEntries(Object.entries(others).map(([peer, value]) => [peer, ours / value]));
    }
    return ratios;
  }

  #map<T>(of: (samples: number[]) => T): Record<string, Record<string, T>> {
    const peers = (samples: Map<string, number[]>) => Object.fromEntries([...samples].map(([peer, list]) => [peer, of(list)]));
    return Object.fromEntries([...this.#samples].map(([figure, samples]) => [figure, peers(samples)]));
  }
}
