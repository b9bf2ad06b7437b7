/** Reads a container's log, and what is added to it until the container has ended and all of it was read. */
import { watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { Failure, codeOf } from '../../errors/index.ts';
import { orAborted } from '../../sync/index.ts';
import { LineSplitter, type LogEntry, entryOf } from './parse.ts';
import { readRotated } from './rotated.ts';
import { tailOffset } from './tail.ts';

const BLOCK = 64 * 1024;

export interface ReadOptions {
  /** Only this many lines from the end; undefined: all. */
  readonly tail?: number | undefined;
  /** Go on until this settles; undefined: to the end of the file as it is. */
  readonly until?: Promise<unknown> | undefined;
  /** Only what was written then or later, milliseconds since 1970. */
  readonly since?: number | undefined;
  readonly signal?: AbortSignal;
}

/**
 * The entries of the log at `path`, across rotations: first what it was renamed to before, oldest first, and while it is followed whatever
 * the runtime opens under its name. Lines that have not the log's format are passed on as text of stdout. Failure: NotFound if
 * there is no such file.
 */
export async function* readLog(path: string, options: ReadOptions = {}): AsyncGenerator<LogEntry> {
  const { since } = options;
  let after = since === undefined;
  for await (const entry of readAll(path, options)) {
    // Times only grow: looked at until the first one that is late enough.
    after ||= since !== undefined && !(Date.parse(entry.time) < since);
    if (after) yield entry;
  }
}

async function* readAll(path: string, options: ReadOptions): AsyncGenerator<LogEntry> {
  const { tail, since } = options;
  let file: FileHandle;
  try {
    file = await openLog(path);
  } catch (error) {
    // One that ended after its log had been renamed has no other.
    const rotated = readRotated(path, { since, tail });
    const first = await rotated.next();
    if (first.done === true) throw error;
    yield first.value;
    yield* rotated;
    return;
  }
  try {
    const end = tail === undefined ? { offset: 0, lines: 0 } : await tailOffset(file, (await file.stat()).size, tail);
    yield* readRotated(path, { since, tail: tail === undefined ? undefined : tail - end.lines });
    let position = end.offset;
    const wakeUps = new WakeUps(path, options.until);
    using _ = wakeUps;
    const lines = new LineSplitter();
    for (;;) {
      // Asked before the reading: what was written before the end is in the file by now.
      const last = wakeUps.ended;
      const waiting = wakeUps.next();
      position = yield* readFrom(file, position, lines);
      const next = await rotated(path, file);
      if (next !== undefined) {
        yield* readFrom(file, position, lines);
        await file.close();
        file = next;
        position = 0;
        continue;
      }
      if (last) break;
      await orAborted(waiting, options.signal);
    }
    const rest = lines.flush();
    if (rest !== undefined) yield entryOf(rest);
  } finally {
    await file.close();
  }
}

async function* readFrom(file: FileHandle, from: number, lines: LineSplitter): AsyncGenerator<LogEntry, number> {
  const block = Buffer.alloc(BLOCK);
  for (let position = from; ;) {
    const { bytesRead } = await file.read(block, 0, BLOCK, position);
    if (bytesRead === 0) return position;
    position += bytesRead;
    for (const line of lines.push(block.subarray(0, bytesRead))) yield entryOf(line);
  }
}

/** The file that stands at `path` now, if it is another one. */
async function rotated(path: string, file: FileHandle): Promise<FileHandle | undefined> {
  try {
    const [now, before] = await Promise.all([stat(path), file.stat()]);
    return now.ino === before.ino && now.dev === before.dev ? undefined : await open(path);
  } catch (error) {
    // Between the renaming of the old and the making of the new one.
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function openLog(path: string): Promise<FileHandle> {
  try {
    return await open(path);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') {
      throw new Failure('NotFound', `there is no log ${path}`, {
        cause: error,
        advice: 'Logs are files of the node: run this command there. A container that was never started has none.',
      });
    }
    if (code === 'EACCES')
      throw new Failure('PermissionDenied', `no permission to read ${path}`, { cause: error, advice: 'Run this command as root.' });
    throw error;
  }
}

/** Tells when it is worth looking at the file again: something happened in its directory, or the end has come. */
class WakeUps implements Disposable {
  ended: boolean;
  #wake: (() => void) | undefined;
  readonly #watcher: ReturnType<typeof watch> | undefined;

  constructor(path: string, until: Promise<unknown> | undefined) {
    this.ended = until === undefined;
    if (until === undefined) return;
    const wake = (): void => this.#wake?.();
    const end = (): void => {
      this.ended = true;
      wake();
    };
    until.then(end, end);
    // The directory, not the file: rotation makes a new file, whose watch would come too late.
    const name = basename(path);
    this.#watcher = watch(dirname(path), (_, changed) => {
      if (changed === null || changed === name) wake();
    });
  }

  /** Settles with the next event after this call. */
  next(): Promise<void> {
    if (this.ended) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    return promise;
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
  }
}
