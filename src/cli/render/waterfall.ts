import type { Output } from './terminal.ts';
import { printable } from './text.ts';

/** A row of a waterfall; times in milliseconds since the begin of the whole. */
export interface Bar {
  readonly name: string;
  readonly depth: number;
  readonly startMs: number;
  /** Undefined: still going on. */
  readonly tookMs?: number | undefined;
  readonly failed?: boolean | undefined;
}

const BAR_COLUMNS = 40;

/** Steps below each other, each with a bar where in the whole it was, and how long it took. */
export function writeWaterfall(out: Output, totalMs: number, bars: readonly Bar[]): void {
  const names = bars.map(({ name, depth }) => `${'  '.repeat(depth + 1)}${printable(name)}`);
  const width = Math.max(0, ...names.map((name) => name.length));
  for (const [row, { startMs, tookMs, failed }] of bars.entries()) {
    const bar = drawn(startMs, tookMs ?? totalMs - startMs, totalMs);
    const time = tookMs === undefined ? 'running' : tookMs.toFixed(1).padStart(8);
    const text = `${(names[row] ?? '').padEnd(width)}  ${bar}  ${time}${failed === true ? '  failed' : ''}`;
    out.line(failed === true ? out.paint('red', text) : text);
  }
}

/** At least one sign for each step: what took no time happened too. */
function drawn(startMs: number, tookMs: number, totalMs: number): string {
  const column = (ms: number) => (totalMs <= 0 ? 0 : Math.round((ms / totalMs) * BAR_COLUMNS));
  const from = Math.min(column(startMs), BAR_COLUMNS - 1);
  const length = Math.max(1, Math.min(column(startMs + tookMs), BAR_COLUMNS) - from);
  const sign = tookMs * BAR_COLUMNS < totalMs / 2 ? '|' : '█';
  return `${' '.repeat(from)}${sign.repeat(length)}`.padEnd(BAR_COLUMNS);
}
