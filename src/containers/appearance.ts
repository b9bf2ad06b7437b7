import { type FSWatcher, type WatchListener, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { Failure, codeOf } from '../errors/index.ts';

/** How often it is looked where nothing tells. */
const LOOK_MS = 50;

export interface Appearance {
  /** Settles when another file has come to stand at the path; DeadlineExceeded when none did. */
  readonly seen: Promise<void>;
  readonly end: () => void;
}

type Watch = (directory: string, options: { readonly persistent: false }, listener: WatchListener<string>) => FSWatcher;

/**
 * Waits for a file to be renamed to `path`, which inotify reports under its name. Where no watch is to be had (a node's limit is
 * used up, say) it is looked for: an answer without looking, as CRI-O gives it [E87], may tell of a log that is not there.
 */
export function appearanceOf(path: string, timeoutMs: number, watchDirectory: Watch = watch): Appearance {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const before = inodeOf(path);
  const late = () => reject(new Failure('DeadlineExceeded', `conmon did not open ${path} anew within ${timeoutMs} ms`));
  const timers = [setTimeout(late, timeoutMs)];
  const look = () => {
    const now = inodeOf(path);
    if (now !== undefined && now !== before) resolve();
  };
  let watcher: FSWatcher | undefined;
  try {
    watcher = watchDirectory(dirname(path), { persistent: false }, (_, name) => {
      if (name === basename(path)) resolve();
    });
    watcher.on('error', () => timers.push(setInterval(look, LOOK_MS)));
  } catch {
    timers.push(setInterval(look, LOOK_MS));
  }
  promise.catch(() => {}); // Whoever waits for it gets the error.
  const end = () => {
    for (const timer of timers) clearInterval(timer);
    watcher?.close();
  };
  return { seen: promise, end };
}

function inodeOf(path: string): bigint | undefined {
  try {
    return statSync(path, { bigint: true }).ino;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
