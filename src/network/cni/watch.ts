import { type FSWatcher, watch } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { textOf } from '../../errors/index.ts';
import type { Logger } from '../../log/index.ts';

export interface DirectoryEvent {
  readonly dir: string;
  /** Undefined when the directory itself was replaced. */
  readonly file: string | undefined;
}

/** Editors and package managers write in bursts: one look after the burst is enough. */
const SETTLE_MS = 20;

/**
 * Tells when something happens in a directory, through its life: made when missing, followed when it is replaced,
 * removed and made again, or a symbolic link is pointed elsewhere (needs p32). inotify watches an inode, so the
 * parent is watched too; `recheck` finds what no event tells, a mount over the directory.
 */
export class DirectoryWatch {
  readonly #dir: string;
  readonly #log: Logger;
  readonly #onChange: (event: DirectoryEvent) => void;
  #inside: FSWatcher | undefined;
  #above: FSWatcher | undefined;
  #identity = '';
  #closed = false;

  constructor(dir: string, log: Logger, onChange: (event: DirectoryEvent) => void) {
    this.#dir = resolve(dir);
    this.#log = log;
    this.#onChange = onChange;
  }

  /** Makes the directory 0755 when it is missing. Fails when it cannot be watched. */
  async start(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o755 });
    this.#identity = await identityOf(this.#dir);
    this.#arm();
    this.#above = this.#watch(dirname(this.#dir), (file) => {
      if (file === basename(this.#dir)) void this.recheck();
    });
  }

  /** Looks whether the path leads to another directory than the one watched, and then watches that. */
  async recheck(): Promise<void> {
    const identity = await identityOf(this.#dir);
    if (this.#closed || identity === this.#identity) return;
    this.#identity = identity;
    this.#arm();
    this.#onChange({ dir: this.#dir, file: undefined });
  }

  close(): void {
    this.#closed = true;
    this.#inside?.close();
    this.#above?.close();
  }

  #arm(): void {
    this.#inside?.close();
    this.#inside = undefined;
    if (this.#identity === '') return;
    try {
      this.#inside = this.#watch(this.#dir, (file) => {
        this.#onChange({ dir: this.#dir, file });
        // The directory's own removal arrives as an event with its name.
        if (file === basename(this.#dir)) void this.recheck();
      });
    } catch (error) {
      this.#identity = ''; // It went in between; the parent's event or the next recheck tries again.
      this.#log.error(`CNI monitoring error ${textOf(error)}`);
    }
  }

  #watch(dir: string, onFile: (file: string) => void): FSWatcher {
    const watcher = watch(dir, { persistent: false }, (_event, file) => onFile(file ?? ''));
    watcher.on('error', (error) => this.#log.error(`CNI monitoring error ${textOf(error)}`));
    return watcher;
  }
}

/** Calls `work`, which must not fail, after a burst of calls has settled; never twice at once, once more if called while it works. */
export class Settled {
  readonly #work: () => Promise<void>;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  poke(): void {
    if (this.#running !== undefined) this.#again = true;
    else this.#timer ??= setTimeout(() => void this.#go(), SETTLE_MS);
  }

  /** Works now, or waits for the work that is under way and what it left to do. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#running !== undefined) this.#again = true;
    await (this.#running ?? this.#go());
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#again = false;
    await this.#running;
  }

  async #go(): Promise<void> {
    this.#timer = undefined;
    const running = (async () => {
      do {
        this.#again = false;
        await this.#work();
      } while (this.#again);
    })();
    this.#running = running;
    try {
      await running;
    } finally {
      this.#running = undefined;
    }
  }
}

async function identityOf(dir: string): Promise<string> {
  try {
    const { dev, ino } = await stat(dir);
    return `${dev}:${ino}`;
  } catch {
    return '';
  }
}
