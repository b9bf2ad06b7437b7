/**
 * The log format of CRI: one line per write, `TIME STREAM TAG TEXT`, where TAG `P` says that the line goes on in the
 * next entry of the same stream and `F` that it ends.
 */
const NEWLINE = 10;
const BLANK = 32;

export interface LogEntry {
  /** RFC 3339 with nanoseconds, as the runtime wrote it. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** Whether a newline of the container's followed. */
  readonly full: boolean;
  /** Without that newline; any bytes. */
  readonly text: Buffer;
}

/** One line of the file without its newline; undefined if it has not the format (a torn write, another log driver). */
export function parseLogLine(line: Buffer): LogEntry | undefined {
  const first = line.indexOf(BLANK);
  const second = line.indexOf(BLANK, first + 1);
  if (first < 0 || second < 0) return undefined;
  const stream = line.toString('latin1', first + 1, second);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const third = line.indexOf(BLANK, second + 1);
  // An empty text may have lost the blank before it. Tags are separated by colons, the first one is P or F.
  const tags = line.toString('latin1', second + 1, third < 0 ? line.length : third).split(':');
  if (tags[0] !== 'P' && tags[0] !== 'F') return undefined;
  return {
    time: line.toString('latin1', 0, first),
    stream,
    full: tags[0] === 'F',
    text: third < 0 ? Buffer.alloc(0) : line.subarray(third + 1),
  };
}

/** A line as an entry: what has not the format is text of stdout. Owns its bytes. */
export function entryOf(line: Buffer): LogEntry {
  return parseLogLine(Buffer.from(line)) ?? { time: '', stream: 'stdout', full: true, text: Buffer.from(line) };
}

/** Cuts chunks of a file into lines; what has no newline yet waits for the next chunk. */
export class LineSplitter {
  #rest: Buffer[] = [];

  *push(chunk: Buffer): Generator<Buffer> {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const piece = chunk.subarray(start, end);
      yield this.#rest.length === 0 ? piece : Buffer.concat([...this.#rest, piece]);
      this.#rest = [];
      start = end + 1;
    }
    if (start < chunk.length) this.#rest.push(Buffer.from(chunk.subarray(start)));
  }

  /** What stands at the end of the file without a newline. */
  flush(): Buffer | undefined {
    if (this.#rest.length === 0) return undefined;
    const rest = Buffer.concat(this.#rest);
    this.#rest = [];
    return rest;
  }
}
