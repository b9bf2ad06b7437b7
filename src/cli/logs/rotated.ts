import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { codeOf } from '../../errors/index.ts';
import { LineSplitter, type LogEntry, entryOf } from './parse.ts';

/** What the kubelet renames a log to; compressed ones are all but the newest. */
const SUFFIX = /^\.\d{8}-\d{6}(\.gz)?$/;

export interface RotatedOptions {
  /** Only so many lines from the end. */
  readonly tail?: number | undefined;
  /** Files that were last written before (milliseconds since 1970) are left out. */
  readonly since?: number | undefined;
}

/** The entries of the files that the log at `path` was renamed to before, oldest first. */
export async function* readRotated(path: string, options: RotatedOptions = {}): AsyncGenerator<LogEntry> {
  const files = await rotatedFiles(path, options.since);
  if (options.tail === undefined) {
    for (const file of files) yield* entriesOf(file);
    return;
  }
  // From the newest on, until there are enough.
  const chosen: LogEntry[][] = [];
  let lines = options.tail;
  for (const file of files.toReversed()) {
    if (lines <= 0) break;
    const last = new LastLines(lines);
    for await (const entry of entriesOf(file)) last.add(entry);
    lines -= last.lines;
    chosen.unshift(last.entries);
  }
  yield* chosen.flat();
}

async function rotatedFiles(path: string, since: number | undefined): Promise<string[]> {
  const names = await readdir(dirname(path)).catch((error) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  });
  const own = basename(path);
  // The names carry the time, and a file that is just being compressed is there twice: the finished one is kept.
  const rotated = names.filter((name) => name.startsWith(own) && SUFFIX.test(name.slice(own.length))).toSorted();
  const once = rotated.filter((name) => !(name.endsWith('.gz') && rotated.includes(name.slice(0, -'.gz'.length))));
  const files = once.map((name) => join(dirname(path), name));
  if (since === undefined) return files;
  const times = await Promise.all(files.map(async (file) => (await stat(file)).mtimeMs));
  return files.filter((_, index) => (times[index] ?? 0) >= since);
}

async function* entriesOf(file: string): AsyncGenerator<LogEntry> {
  const lines = new LineSplitter();
  for await (const chunk of await contentOf(file)) {
    for (const line of lines.push(chunk as Buffer)) yield entryOf(line);
  }
  const rest = lines.flush();
  if (rest !== undefined) yield entryOf(rest);
}

async function contentOf(file: string): Promise<Readable> {
  const plain = createReadStream(file);
  if (!file.endsWith('.gz')) return plain;
  const { createGunzip } = await import('node:zlib');
  const gunzip = createGunzip();
  plain.on('error', (error) => gunzip.destroy(error));
  return plain.pipe(gunzip);
}

/** The end of a log: so many lines, each with all its parts. */
class LastLines {
  readonly #most: number;
  readonly #lines: LogEntry[][] = [];
  #open: LogEntry[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  add(entry: LogEntry): void {
    this.#open.push(entry);
    if (!entry.full) return;
    this.#lines.push(this.#open);
    this.#open = [];
    if (this.#lines.length > this.#most) this.#lines.shift();
  }

  get lines(): number {
    return this.#lines.length;
  }

  get entries(): LogEntry[] {
    return [...this.#lines.flat(), ...this.#open];
  }
}
