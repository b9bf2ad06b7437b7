import type { FileHandle } from 'node:fs/promises';
import { parseLogLine } from './parse.ts';

const BLOCK = 64 * 1024;
const NEWLINE = 10;

/**
 * The offset from which `count` lines of the container's output stand in the file, and how many there are if it has fewer. Read from the end, so that the
 * size of the file does not matter. Parts of a long line (tag P) belong to the line that ends them.
 */
export async function tailOffset(
  file: FileHandle,
  size: number,
  count: number,
): Promise<{ readonly offset: number; readonly lines: number }> {
  if (count <= 0) return { offset: size, lines: 0 };
  let tail: Buffer = Buffer.alloc(0);
  let position = size;
  let ends = 0;
  let startOfTail = size;
  while (position > 0) {
    const length = Math.min(BLOCK, position);
    position -= length;
    const block = Buffer.alloc(length);
    await file.read(block, 0, length, position);
    tail = Buffer.concat([block, tail]);
    // Whole lines of `tail` from its end; what stands before its first newline begins in an earlier block.
    for (;;) {
      const isLast = startOfTail === size && tail.at(-1) !== NEWLINE;
      const lineEnd = isLast ? tail.length : tail.length - 1;
      const before = tail.lastIndexOf(NEWLINE, lineEnd - 1);
      if (before < 0 && position > 0) break;
      const line = tail.subarray(before + 1, lineEnd);
      if (parseLogLine(line)?.full !== false && tail.length > 0 && ++ends > count) return { offset: startOfTail, lines: count };
      startOfTail = position + before + 1;
      tail = tail.subarray(0, before + 1);
      if (tail.length === 0) break;
    }
  }
  return { offset: 0, lines: ends };
}
