import { type FSWatcher, watch } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';

export interface DirectoryEvent {
  readonly dir: string;
  /** Undefined when the directory itself was replaced. */
  readonly file: string | undefined;
}

export interface DirectoryListener {
  readonly onChange: (event: DirectoryEvent) => void;
  /** Watching failed; it goes on where it can. */
  readonly onError: (error: unknown) => void;
}

/**
 * Tells when something happens in a directory, through its life: followed when it is made or replaced,
 * removed and made again, or a symbolic link is pointed elsewhere (needs p32). inotify watches an inode, so the
 * parent is watched too; `recheck` finds what no event tells, a mount over the directory.
 */
export class DirectoryFollower {
  readonly #dir: string;
  readonly #listener: DirectoryListener;
  #inside: FSWatcher | undefined;
  #above: FSWatcher | undefined;
  #identity = '';
  #closed = false;

  constructor(dir: string, listener: DirectoryListener) {
    this.#dir = resolve(dir);
    this.#listener = listener;
  }

  /** Fails when neither the directory's parent nor what is there can be watched; `make`s the directory 0755 when it is missing. */
  async start({ make }: { readonly make: boolean }): Promise<void> {
    if (make) await mkdir(this.#dir, { recursive: true, mode: 0o755 });
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
    this.#listener.onChange({ dir: this.#dir, file: undefined });
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
        this.#listener.onChange({ dir: this.#dir, file });
        // The directory's own removal arrives as an event with its name.
        if (file === basename(this.#dir)) void this.recheck();
      });
    } catch (error) {
      this.#identity = ''; // It went in between; the parent's event or the next recheck tries again.
      this.#listener.onError(error);
    }
  }

  #watch(dir: string, onFile: (file: string) => void): FSWatcher {
    const watcher = watch(dir, { persistent: false }, (_event, file) => onFile(file ?? ''));
    watcher.on('error', (error) => this.#listener.onError(error));
    return watcher;
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
