import { rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, textOf } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';

/** Together enough for all record files of a big node at once, in bytes and in inodes. */
const FILES = 8;
const FILE_BYTES = 128 * 1024;
/** Of the run root, which is memory and has the list of mounts only. */
const RUN_FILE_BYTES = 16 * 1024;
const PIECE = Buffer.alloc(16 * 1024);

/** The files of the reserve below a root. */
export function reserveFiles(root: string): readonly string[] {
  const first = join(root, '.crio-reserve');
  return Array.from({ length: FILES }, (_, index) => (index === 0 ? first : `${first}.${index}`));
}

/** Files that only take up space, so that removing something can still write its records when the disk is full (needs p23). */
export class Reserve {
  readonly #root: string;
  readonly #paths: readonly string[];
  readonly #fileBytes: number;
  readonly #log: Logger;
  #filling: Promise<void> | undefined;

  constructor(root: string, o: { readonly isRunRoot: boolean; readonly log: Logger }) {
    this.#root = root;
    this.#paths = reserveFiles(root);
    this.#fileBytes = o.isRunRoot ? RUN_FILE_BYTES : FILE_BYTES;
    this.#log = o.log;
  }

  /** Gives the space back; answers whether there was any. */
  release(): boolean {
    const kept = this.#paths.filter((path) => sizeOf(path) !== undefined);
    for (const path of kept) rmSync(path, { force: true });
    if (kept.length > 0) this.#log.warn(`No space left below ${this.#root}: gave the reserve back`);
    return kept.length > 0;
  }

  /** Takes the space again; on a disk that is nearly full what there is: who comes next would leave nothing for a removal. */
  async refill(): Promise<void> {
    if (this.#paths.some((path) => (sizeOf(path) ?? 0) < this.#fileBytes))
      await (this.#filling ??= this.#fill().finally(() => (this.#filling = undefined)));
  }

  async #fill(): Promise<void> {
    try {
      for (const path of this.#paths) {
        await using file = await open(path, 'a', 0o600);
        for (let size = sizeOf(path) ?? 0; size < this.#fileBytes;) size += (await file.write(PIECE)).bytesWritten;
      }
    } catch (error) {
      if (!isFull(error)) this.#log.warn(`Could not keep a reserve: ${textOf(error)}`);
    }
  }
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
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
