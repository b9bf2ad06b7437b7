import type { TerminalSize } from '../../linux/index.ts';

/** A size takes some forty bytes; whoever sends more without an end of it sends no sizes. */
const MOST = 1024;

/**
 * Sizes of the client's window: JSON objects behind each other, `{"Width":80,"Height":24}` [E44]. Those with a zero are ignored; from
 * the first thing on that is no size, all is.
 */
export class WindowSizes {
  #text = '';
  #broken = false;
  #last: TerminalSize | undefined;
  #apply: ((size: TerminalSize) => void) | undefined;

  receive(bytes: Buffer): void {
    if (this.#broken) return;
    this.#text += bytes.toString('latin1');
    for (let end = this.#text.indexOf('}'); end >= 0 && !this.#broken; end = this.#text.indexOf('}')) {
      const size = parseSize(this.#text.slice(0, end + 1));
      this.#text = this.#text.slice(end + 1);
      if (size === undefined) this.#broken = true;
      else if (size.width > 0 && size.height > 0) this.#tell(size);
    }
    if (this.#text.length > MOST) this.#broken = true;
    if (this.#broken) this.#text = '';
  }

  /** Calls `apply` with the last size so far, and with each that follows. */
  readonly onResize = (apply: (size: TerminalSize) => void): void => {
    this.#apply = apply;
    if (this.#last !== undefined) apply(this.#last);
  };

  #tell(size: TerminalSize): void {
    this.#last = size;
    this.#apply?.(size);
  }
}

function parseSize(text: string): TerminalSize | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (parsed === null || typeof parsed !== 'object') return undefined;
  // As Go reads them: whatever the case of the names.
  const fields = new Map(Object.entries(parsed).map(([name, value]) => [name.toLowerCase(), value as unknown]));
  const [width, height] = [fields.get('width') ?? 0, fields.get('height') ?? 0];
  return isSide(width) && isSide(height) ? { width, height } : undefined;
}

function isSide(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffff;
}
