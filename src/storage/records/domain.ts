import { randomInt } from 'node:crypto';
import { renameSync, statSync, writeFileSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Failure, textOf, wrap } from '../../errors/index.ts';
import type { HexId } from '../../ids/index.ts';
import type { LockMode } from '../../linux/index.ts';
import type { Lock } from '../locks/lock.ts';
import type { Fields } from './fields.ts';
import { RecordList } from './list.ts';
import type { SetAside } from './set-aside.ts';

/**
 * How a file is written: flushed before it counts (`durable`), not flushed (`volatile`: a power cut may lose the
 * change), at once on a file system in memory (`memory`), where a write never waits for a disk, or not at all (`foreign`).
 */
export type Medium = 'durable' | 'volatile' | 'memory' | 'foreign';

/** One JSON file of records, kept parsed. */
export class RecordFile<R extends { readonly id: HexId }> {
  readonly path: string;
  readonly records: RecordList<R>;
  readonly #medium: Medium;
  readonly #setAside: SetAside;
  #modified: bigint | undefined;

  constructor(path: string, format: Fields<R>, medium: Medium, setAside: SetAside = () => Promise.resolve(false)) {
    this.path = path;
    this.records = new RecordList(format);
    this.#medium = medium;
    this.#setAside = setAside;
  }

  /** A missing file is an empty list. Broken JSON is FailedPrecondition with code CORRUPT_RECORDS, and changes nothing, or it is set aside. */
  async load(): Promise<void> {
    const modified = modifiedAt(this.path);
    const json = modified === undefined ? '' : await readFile(this.path, 'utf8');
    try {
      this.records.parse(json);
    } catch (error) {
      const broken = new Failure('FailedPrecondition', `records in ${this.path} cannot be read: ${textOf(error)}`, {
        cause: error,
        code: 'CORRUPT_RECORDS',
        advice: this.#wayOut(),
      });
      if (!(await this.#setAside(this.path, broken))) throw broken;
      return await this.load();
    }
    this.#modified = modified;
  }

  #wayOut(): string {
    if (this.#medium === 'foreign') return 'Repair the additional image store, or take it out of storage.conf and storage_option.';
    if (this.#medium === 'durable') return `Restore ${this.path} from a copy, or remove the storage directory and pull again.`;
    return `Restore ${this.path} from a copy, or remove it: containers are forgotten then, images stay.`;
  }

  /** Whether the file was replaced since it was loaded or saved. */
  get replaced(): boolean {
    return modifiedAt(this.path) !== this.#modified;
  }

  get dirty(): boolean {
    return this.records.changed;
  }

  /**
   * Writes the new contents beside the file (mode 0600). The answer puts them in place by
   * a rename, or removes them. Nothing that may run out of space happens after this.
   */
  async prepare(): Promise<PreparedFile> {
    const json = this.records.stringify();
    const temporary = join(dirname(this.path), `.tmp-${basename(this.path)}${randomInt(1e9)}`);
    const discard = () => rm(temporary, { force: true });
    try {
      if (this.#medium === 'memory') writeFileSync(temporary, json, { flag: 'wx', mode: 0o600 });
      else await writeFile(temporary, json, { flag: 'wx', mode: 0o600, flush: this.#medium === 'durable' });
    } catch (error) {
      await discard();
      throw wrap(`writing ${this.path}`, error);
    }
    const commit = async () => {
      if (this.#medium === 'memory') renameSync(temporary, this.path);
      else await rename(temporary, this.path);
      this.records.changed = false;
      this.#modified = modifiedAt(this.path);
    };
    return { commit, discard };
  }
}

/** A record file with the root that its records' things lie below. */
export interface RootedFile<R extends { readonly id: HexId }> {
  readonly root: string;
  readonly file: RecordFile<R>;
}

export interface PreparedFile {
  commit(): Promise<void>;
  discard(): Promise<void>;
}

function modifiedAt(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.mtimeNs;
}

export interface DomainOptions {
  /** A file's time of modification counts too, as for layers (docs/reference/cri-o-ondisk.md §2.3). */
  readonly watchFiles?: boolean;
  readonly onLoad?: () => void;
  /** Somebody else's: only locked shared. What cannot be read any more stays as it was, and is told here; the first load must succeed. */
  readonly onBroken?: (error: unknown) => void;
}

/** What a domain needs of a record file. */
export type DomainFile = Pick<RecordFile<{ readonly id: HexId }>, 'load' | 'replaced' | 'dirty' | 'prepare' | 'path'>;

/** The files behind one lock: reloaded when somebody else was the last writer. */
export class Domain {
  readonly lock: Lock;
  readonly files: readonly DomainFile[];
  readonly #options: DomainOptions;
  #seen: Buffer | undefined;
  #loading: Promise<void> | undefined;
  /** Counts loads: whoever derives something from the records knows when it is out of date. */
  generation = 0;

  constructor(lock: Lock, files: readonly DomainFile[], options: DomainOptions = {}) {
    this.lock = lock;
    this.files = files;
    this.#options = options;
  }

  /** The mode in which a change needs the lock. */
  get mode(): LockMode {
    return this.#options.onBroken === undefined ? 'exclusive' : 'shared';
  }

  /** Call it while holding the lock, in either mode. */
  async refresh(): Promise<void> {
    if (this.#loading === undefined && this.#fresh()) return;
    await (this.#loading ??= this.#load().finally(() => (this.#loading = undefined)));
  }

  /** Loads whatever the lock's record says: after a save that failed. */
  forget(): void {
    this.#seen = undefined;
  }

  get dirty(): boolean {
    return this.files.some((file) => file.dirty);
  }

  /** Tells the others, before the files are replaced, that theirs are old. Call it while holding the lock exclusively. */
  announce(): void {
    this.#seen = this.lock.writeRecord();
  }

  #fresh(): boolean {
    if (this.#seen === undefined || !this.lock.readRecord().equals(this.#seen)) return false;
    return this.#options.watchFiles !== true || !this.files.some((file) => file.replaced);
  }

  async #load(): Promise<void> {
    const record = this.lock.readRecord();
    try {
      for (const file of this.files) await file.load();
    } catch (error) {
      if (this.#options.onBroken === undefined || this.#seen === undefined) throw error;
      this.#options.onBroken(error);
      return;
    }
    this.#seen = record;
    this.generation++;
    this.#options.onLoad?.();
  }
}
