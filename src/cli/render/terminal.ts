import type { WriteStream } from 'node:tty';

type Stream = Pick<NodeJS.WriteStream, 'write'> & Partial<Pick<WriteStream, 'isTTY' | 'columns' | 'rows'>>;
export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow';

const CODES: Readonly<Record<Style, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
};

/** Results go to `out`, everything that is said about the work (progress, notes, errors) to `err`. */
export class Terminal {
  readonly out: Output;
  readonly err: Output;

  constructor(out: Stream, err: Stream, env: Readonly<Record<string, string | undefined>>) {
    this.out = new Output(out, env);
    this.err = new Output(err, env);
  }
}

export class Output {
  readonly #stream: Stream;
  /** Whether a person reads along. */
  readonly interactive: boolean;
  readonly #colours: boolean;

  constructor(stream: Stream, env: Readonly<Record<string, string | undefined>>) {
    this.#stream = stream;
    this.interactive = stream.isTTY === true && env['TERM'] !== 'dumb';
    // no-color.org: any value but the empty one switches colours off.
    this.#colours = this.interactive && (env['NO_COLOR'] ?? '') === '';
  }

  get columns(): number {
    return this.#stream.columns ?? 80;
  }

  get rows(): number {
    return this.#stream.rows ?? 24;
  }

  /** False: the reader has no room for more; `written` waits for it. */
  write(text: string | Uint8Array): boolean {
    return this.#stream.write(text);
  }

  /** As `write`; settles when the reader has room for more. */
  async written(text: string | Uint8Array): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#stream.write(text, () => resolve());
    await promise;
  }

  line(text: string): void {
    this.#stream.write(`${text}\n`);
  }

  /** `text` in a style where colours are wanted, else as it is. */
  paint(style: Style, text: string): string {
    if (!this.#colours) return text;
    const [on, off] = CODES[style];
    return `\u001b[${on}m${text}\u001b[${off}m`;
  }
}
