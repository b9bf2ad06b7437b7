import { closeSync, constants, fchmodSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Failure } from '../../errors/index.ts';
import { TarReader } from '../../storage/index.ts';
import type { TarEntry } from '../../storage/index.ts';

const FILE = 0x30;
const DIRECTORY = 0x35;
/** Set-user and set-group bits of a container's files mean nothing outside. */
const MODE = 0o777;

/**
 * Writes what comes out of a container as a tar stream to `target`: the archive's top becomes `target`, what is in it stands below. Files and
 * directories only, with names that lead nowhere else; links and devices are left out and told: what is in a container is not to be
 * trusted with a path on the node (a64). Existing files are replaced, links never followed.
 */
export class Unpacker {
  readonly #target: string;
  readonly #leftOut: (name: string, why: string) => void;
  readonly #reader: TarReader;
  #fd: number | undefined;
  #members = 0;

  constructor(target: string, leftOut: (name: string, why: string) => void) {
    this.#target = target;
    this.#leftOut = leftOut;
    this.#reader = new TarReader({
      raw: () => {},
      begin: (entry) => this.#begin(entry),
      data: (bytes, position) => this.#data(bytes, position),
      end: () => this.#end(),
    });
  }

  push(chunk: Buffer): void {
    this.#reader.push(chunk);
  }

  /** How many files and directories there were. */
  get members(): number {
    return this.#members;
  }

  close(): void {
    this.#end();
  }

  #begin(entry: TarEntry): void {
    const name = Buffer.from(entry.name, 'latin1').toString('utf8');
    const path = this.#pathOf(name);
    if (path === undefined) return this.#leftOut(name, 'its name leads elsewhere');
    if (entry.type === DIRECTORY) mkdirSync(path, { recursive: true, mode: (entry.mode & MODE) | 0o700 });
    else if (entry.type === FILE) {
      mkdirSync(dirname(path), { recursive: true });
      const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants;
      this.#fd = openSync(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600);
      fchmodSync(this.#fd, entry.mode & MODE);
    } else return this.#leftOut(name, 'it is neither a file nor a directory');
    this.#members++;
  }

  #data(bytes: Buffer, position: number): void {
    if (this.#fd === undefined) return;
    for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at, bytes.length - at, position + at);
  }

  #end(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** Its first element is the top of what was asked for. */
  #pathOf(name: string): string | undefined {
    const elements = name.split('/').filter((element) => element !== '' && element !== '.');
    if (elements.length === 0 || elements.includes('..') || name.includes('\0')) return undefined;
    return join(this.#target, ...elements.slice(1));
  }
}

/** For what came without a single file. */
export function nothingCame(source: string): Failure {
  return new Failure('NotFound', `nothing could be copied from ${source}`, {
    advice: 'Check the path; the container needs a tar program of its own.',
  });
}
