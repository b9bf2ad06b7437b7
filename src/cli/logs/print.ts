import { type Output, type Style, type Terminal, printableLines } from '../render/index.ts';
import type { LogEntry } from './parse.ts';

export interface PrintOptions {
  readonly timestamps?: boolean;
  /** Control characters reach the terminal as they are. */
  readonly raw?: boolean;
  /** Stands before every line, where logs of several containers are mixed. */
  readonly prefix?: string;
  readonly paint?: Style;
}

const NEWLINE = Buffer.from('\n');
/** Eight KiB each: longer lines are cut where several logs are shown. */
const MOST_PARTS = 128;

/** Prints entries to the stream that they were written to; parts of a line are put together again. */
export class LogPrinter {
  readonly #terminal: Terminal;
  readonly #options: PrintOptions;
  /** Streams in the middle of a line. */
  readonly #open = new Set<LogEntry['stream']>();
  readonly #parts = new Map<LogEntry['stream'], LogEntry[]>();

  constructor(terminal: Terminal, options: PrintOptions = {}) {
    this.#terminal = terminal;
    this.#options = options;
  }

  /** Waits where whoever reads has no room: a log may be longer than our memory. */
  async print(entry: LogEntry): Promise<void> {
    const out = entry.stream === 'stderr' ? this.#terminal.err : this.#terminal.out;
    if (!this.#write(out, entry)) await out.written('');
  }

  #write(out: Output, entry: LogEntry): boolean {
    if (this.#options.prefix !== undefined) return this.#printWhole(out, entry);
    const goesOn = this.#open.has(entry.stream);
    const head = goesOn ? '' : this.#time(entry);
    if (entry.full) this.#open.delete(entry.stream);
    else this.#open.add(entry.stream);
    return out.write(Buffer.concat([Buffer.from(head), this.#safe(out, entry.text), ...(entry.full ? [NEWLINE] : [])]));
  }

  /** Of several logs, lines are printed when they are whole: their parts would be mixed. */
  #printWhole(out: Output, entry: LogEntry): boolean {
    const parts = this.#parts.get(entry.stream) ?? [];
    parts.push(entry);
    this.#parts.set(entry.stream, parts);
    if (!entry.full && parts.length < MOST_PARTS) return true;
    this.#parts.delete(entry.stream);
    const [first = entry] = parts;
    const { prefix = '', paint } = this.#options;
    const head = `${paint === undefined ? prefix : out.paint(paint, prefix)}${this.#time(first)}`;
    return out.write(Buffer.concat([Buffer.from(head), ...parts.map(({ text }) => this.#safe(out, text)), NEWLINE]));
  }

  #time({ time }: LogEntry): string {
    return this.#options.timestamps === true && time !== '' ? `${time} ` : '';
  }

  /** What a container writes must not steer the terminal of whoever looks. */
  #safe(out: Output, text: Buffer): Buffer {
    if (this.#options.raw === true || !out.interactive) return text;
    return Buffer.from(printableLines(text.toString('utf8')));
  }
}
