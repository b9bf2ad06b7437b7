import { type Output, type Terminal, printableLines } from '../render/index.ts';
import type { LogEntry } from './parse.ts';

export interface PrintOptions {
  readonly timestamps?: boolean;
  /** Control characters reach the terminal as they are. */
  readonly raw?: boolean;
  /** Stands before every line, where logs of several containers are mixed. */
  readonly prefix?: string;
}

const NEWLINE = Buffer.from('\n');

/** Prints entries to the stream that they were written to; parts of a line are put together again. */
export class LogPrinter {
  readonly #terminal: Terminal;
  readonly #options: PrintOptions;
  /** Streams in the middle of a line. */
  readonly #open = new Set<LogEntry['stream']>();

  constructor(terminal: Terminal, options: PrintOptions = {}) {
    this.#terminal = terminal;
    this.#options = options;
  }

  print(entry: LogEntry): void {
    const out = entry.stream === 'stderr' ? this.#terminal.err : this.#terminal.out;
    const goesOn = this.#open.has(entry.stream);
    const { prefix = '', timestamps = false } = this.#options;
    const head = goesOn ? '' : `${prefix}${timestamps && entry.time !== '' ? `${entry.time} ` : ''}`;
    out.write(Buffer.concat([Buffer.from(head), this.#safe(out, entry.text), ...(entry.full ? [NEWLINE] : [])]));
    if (entry.full) this.#open.delete(entry.stream);
    else this.#open.add(entry.stream);
  }

  /** What a container writes must not steer the terminal of whoever looks. */
  #safe(out: Output, text: Buffer): Buffer {
    if (this.#options.raw === true || !out.interactive) return text;
    return Buffer.from(printableLines(text.toString('utf8')));
  }
}
