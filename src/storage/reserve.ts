import { rmSync, statSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { codeOf, textOf } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';

/** Enough for all record files of a big node at once. */
const RESERVE_BYTES = 1024 * 1024;

/** A file that only takes up space, so that removing something can still write its records when the disk is full (needs p23). */
export class Reserve {
  readonly #path: string;
  readonly #log: Logger;
  #kept: boolean;

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
    this.#kept = statSync(path, { throwIfNoEntry: false })?.size === RESERVE_BYTES;
  }

  /** Gives the space back; answers whether there was any. */
  release(): boolean {
    if (!this.#kept) return false;
    this.#kept = false;
    rmSync(this.#path, { force: true });
    this.#log.warn(`No space left below ${this.#path}: gave the reserve back`);
    return true;
  }

  /** Takes the space again, if there is enough. */
  async refill(): Promise<void> {
    if (this.#kept) return;
    try {
      await writeFile(this.#path, Buffer.alloc(RESERVE_BYTES), { mode: 0o600 });
      this.#kept = true;
    } catch (error) {
      await rm(this.#path, { force: true });
      if (codeOf(error) !== 'ENOSPC' && codeOf(error) !== 'EDQUOT') this.#log.warn(`Could not keep a reserve: ${textOf(error)}`);
    }
  }
}
