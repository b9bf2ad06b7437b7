import { rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { codeOf, textOf } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';

/** Enough for all record files of a big node at once. */
const RESERVE_BYTES = 1024 * 1024;
const PIECE = Buffer.alloc(64 * 1024);

/** A file that only takes up space, so that removing something can still write its records when the disk is full (needs p23). */
export class Reserve {
  readonly #path: string;
  readonly #log: Logger;
  #filling: Promise<void> | undefined;

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
  }

  /** Gives the space back; answers whether there was any. */
  release(): boolean {
    if (this.#size() === 0) return false;
    rmSync(this.#path, { force: true });
    this.#log.warn(`No space left below ${this.#path}: gave the reserve back`);
    return true;
  }

  /** Takes the space again; on a disk that is nearly full what there is: who comes next would leave nothing for a removal. */
  async refill(): Promise<void> {
    if (this.#size() < RESERVE_BYTES) await (this.#filling ??= this.#fill().finally(() => (this.#filling = undefined)));
  }

  async #fill(): Promise<void> {
    try {
      await using file = await open(this.#path, 'a', 0o600);
      for (let size = this.#size(); size < RESERVE_BYTES;) size += (await file.write(PIECE)).bytesWritten;
    } catch (error) {
      if (!isFull(error)) this.#log.warn(`Could not keep a reserve: ${textOf(error)}`);
    }
  }

  #size(): number {
    return statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0;
  }
}

/** Whether there was no space for something, or it would have been more than a quota allows. */
export function isFull(error: unknown): boolean {
  return codeOf(error) === 'ENOSPC' || codeOf(error) === 'EDQUOT';
}

/** Work that has to be possible on a full disk: tried once more with the space of the reserves. */
export async function withReserve<T>(reserves: readonly Reserve[], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isFull(error) || !releaseAll(reserves)) throw error;
    return await work();
  }
}

/** Gives all space back; answers whether there was any. */
export function releaseAll(reserves: readonly Reserve[]): boolean {
  return reserves.map((reserve) => reserve.release()).includes(true);
}
