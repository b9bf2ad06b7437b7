import { printable } from './text.ts';
import type { Output } from './terminal.ts';

/** Columns as wide as their widest cell, two blanks between them, headings in bold; cells are made harmless. */
export function writeTable(out: Output, headings: readonly string[], rows: readonly (readonly string[])[]): void {
  const safe = rows.map((row) => row.map((cell) => printable(cell)));
  const widths = headings.map((heading, column) => Math.max(heading.length, ...safe.map((row) => (row[column] ?? '').length)));
  const lineOf = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === headings.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - cell.length)))
      .join('  ')
      .trimEnd();
  out.line(out.paint('bold', lineOf(headings)));
  for (const row of safe) out.line(lineOf(row));
}
