import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, wrap } from '../errors/index.ts';
import type { ImageFsUsage } from './image.ts';

interface Measured {
  readonly version: string;
  readonly usedBytes: bigint;
  readonly inodesUsed: bigint;
}

/**
 * ImageFsInfo's figures: the directory of image records, apparent sizes and entries [I79]. It changes only when
 * the list of images is saved, so between two saves the last walk's result is the answer. Without such a list it is walked each time.
 */
export class RecordUsage {
  readonly #dir: string;
  readonly #list: string | undefined;
  #last: Measured | undefined;

  constructor(dir: string, list?: string) {
    this.#dir = dir;
    this.#list = list;
  }

  async measure(): Promise<ImageFsUsage> {
    try {
      const version = await this.#version();
      if (this.#list === undefined || this.#last?.version !== version) this.#last = { version, ...(await walk(this.#dir)) };
    } catch (error) {
      throw wrap(`get image fs info unable to get usage for ${this.#dir}: get disk usage for path ${this.#dir}`, error);
    }
    const { usedBytes, inodesUsed } = this.#last;
    return { timestampNs: BigInt(Date.now()) * 1_000_000n, mountpoint: this.#dir, usedBytes, inodesUsed };
  }

  async #version(): Promise<string> {
    const paths = [this.#dir, ...(this.#list === undefined ? [] : [join(this.#dir, this.#list)])];
    const stats = await Promise.all(paths.map((path) => lstat(path, { bigint: true }).catch(ignoreMissing)));
    return stats.map((stat) => (stat === undefined ? '-' : `${stat.ino}/${stat.mtimeNs}/${stat.size}`)).join(' ');
  }
}

/** Sizes of what is no directory, and the number of all entries with the directory itself. */
async function walk(dir: string): Promise<{ usedBytes: bigint; inodesUsed: bigint }> {
  let usedBytes = 0n;
  let inodesUsed = 1n;
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const stat = await lstat(join(entry.parentPath, entry.name), { bigint: true }).catch(ignoreMissing);
    if (stat === undefined) continue;
    inodesUsed++;
    if (!stat.isDirectory()) usedBytes += stat.size;
  }
  return { usedBytes, inodesUsed };
}

/** Files come and go while others work in the store. */
function ignoreMissing(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error;
  return undefined;
}
