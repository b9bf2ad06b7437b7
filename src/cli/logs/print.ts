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

  print(entry: LogEntry): void {
    const out = entry.stream === 'stderr' ? this.#terminal.err : this.#terminal.out;
    if (this.#options.prefix !== undefined) return this.#printWhole(out, entry);
    const goesOn = this.#open.has(entry.stream);
    const head = goesOn ? '' : this.#time(entry);
    out.write(Buffer.concat([Buffer.from(head), this.#safe(out, entry.text), ...(entry.full ? [NEWLINE] : [])]));
    if (entry.full) this.#open.delete(entry.stream);
    else this.#open.add(entry.stream);
  }

  /** Of several logs, lines are printed when they are whole: their parts would be mixed. */
  #printWhole(out: Output, entry: LogEntry): void {
    const parts = this.#parts.get(entry.stream) ?? [];
    parts.push(entry);
    this.#parts.set(entry.stream, parts);
    if (!entry.full && parts.length < MOST_PARTS) return;
    this.#parts.delete(entry.stream);
    const [first = entry] = parts;
    const { prefix = '', paint } = this.#options;
    const head = `${paint === undefined ? prefix : out.paint(paint, prefix)}${this.#time(first)}`;
    out.write(Buffer.concat([Buffer.from(head), ...parts.map(({ text }) => this.#safe(out, text)), NEWLINE]));
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
