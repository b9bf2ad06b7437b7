/** Shows how a pull goes: a board of its layers on a terminal, plain lines elsewhere. */
import type { Output } from './terminal.ts';
import { formatElapsed, formatSize, printable, shortId } from './text.ts';

/** What happens to one layer. Bytes of `download` are compressed ones; `total` is 0 where nobody knows it. */
export interface PullEvent {
  readonly layer: string;
  readonly stage: 'download' | 'unpack' | 'done';
  readonly bytes: number;
  readonly total: number;
  /** The registry, or its mirror, that the image comes from; '' where nobody says. */
  readonly from: string;
  /** Done because it was there. */
  readonly isReused: boolean;
}

/** Where events of one pull come from. It may end early or tell nothing: then only the time is shown. */
export type PullProgress = AsyncIterable<PullEvent>;

export interface ProgressBoard {
  update(event: PullEvent): void;
  /** Takes the board away; what is printed next stands where it stood. */
  close(): void;
}

const REDRAW_MS = 125;
const BAR = 24;

/** A board for the pull of `image`; `clock` in milliseconds. */
export function progressBoard(out: Output, image: string, clock: () => number = () => performance.now()): ProgressBoard {
  return out.interactive ? new LiveBoard(out, image, clock) : new PlainBoard(out, image);
}

class PlainBoard implements ProgressBoard {
  readonly #out: Output;
  readonly #done = new Set<string>();
  #from = '';

  constructor(out: Output, image: string) {
    this.#out = out;
    out.line(`Pulling ${printable(image)}`);
  }

  update({ layer, stage, total, from, isReused }: PullEvent): void {
    if (from !== this.#from) this.#out.line(`from ${printable((this.#from = from))}`);
    if (stage !== 'done' || this.#done.has(layer)) return;
    this.#done.add(layer);
    const size = total > 0 ? `, ${formatSize(total)}` : '';
    this.#out.line(`layer ${printable(shortId(layer))} ${isReused ? 'is here already' : `done${size}`}`);
  }

  close(): void {}
}

class LiveBoard implements ProgressBoard {
  readonly #out: Output;
  readonly #image: string;
  readonly #clock: () => number;
  readonly #started: number;
  readonly #layers = new Map<string, PullEvent>();
  readonly #timer: NodeJS.Timeout;
  #drawn = 0;

  constructor(out: Output, image: string, clock: () => number) {
    this.#out = out;
    this.#image = printable(image);
    this.#clock = clock;
    this.#started = clock();
    this.#draw();
    // The elapsed time is part of the board, so it is drawn by the clock and not by events.
    this.#timer = setInterval(() => this.#draw(), REDRAW_MS);
  }

  update(event: PullEvent): void {
    this.#layers.set(event.layer, event);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#out.write(this.#erased());
    this.#drawn = 0;
  }

  #draw(): void {
    const lines = boardLines(this.#image, [...this.#layers.values()], this.#clock() - this.#started).slice(0, this.#out.rows - 1);
    const width = this.#out.columns - 1;
    this.#out.write(this.#erased() + lines.map((line) => `${line.slice(0, width)}\n`).join(''));
    this.#drawn = lines.length;
  }

  #erased(): string {
    return this.#drawn === 0 ? '' : `\u001b[${this.#drawn}A\u001b[J`;
  }
}

/** The board as lines: the whole pull, then its layers in the order in which they were first heard of. */
export function boardLines(image: string, layers: readonly PullEvent[], elapsedMs: number): string[] {
  const fetched = layers.filter(({ isReused }) => !isReused);
  const got = fetched.reduce((sum, layer) => sum + (layer.stage === 'download' ? layer.bytes : layer.total), 0);
  const total = fetched.reduce((sum, layer) => sum + layer.total, 0);
  const from = layers.at(-1)?.from ?? '';
  const rate = elapsedMs > 0 ? (got * 1000) / elapsedMs : 0;
  const parts = [`Pulling ${image}`, ...(from === '' ? [] : [`from ${printable(from)}`]), formatElapsed(elapsedMs)];
  if (got > 0) parts.push(total > 0 ? `${formatSize(got)} of ${formatSize(total)}` : formatSize(got));
  if (got > 0 && got < total) parts.push(`${formatSize(Math.round(rate))}/s`, `${formatElapsed(((total - got) * 1000) / rate)} left`);
  return [parts.join('  '), ...layers.map(layerLine)];
}

const STAGES: Readonly<Record<PullEvent['stage'], string>> = { download: 'downloading', unpack: 'unpacking', done: 'done' };

function layerLine(layer: PullEvent): string {
  const head = `  ${printable(shortId(layer.layer)).padEnd(13)}  ${STAGES[layer.stage].padEnd(11)}`;
  if (layer.isReused) return `  ${printable(shortId(layer.layer)).padEnd(13)}  is here already`;
  if (layer.stage === 'done') return `${head}  ${layer.total > 0 ? formatSize(layer.total) : ''}`.trimEnd();
  if (layer.total <= 0) return `${head}  ${formatSize(layer.bytes)}`;
  const filled = Math.min(BAR, Math.floor((layer.bytes / layer.total) * BAR));
  return `${head}  [${'='.repeat(filled)}${' '.repeat(BAR - filled)}]  ${formatSize(layer.bytes)}/${formatSize(layer.total)}`;
}
