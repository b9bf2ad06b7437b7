import { type BigIntStats, closeSync, openSync, readSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { type OwnedFd, sealedCopy } from '../../linux/index.ts';

interface Copy {
  /** Undefined: the file itself is executed. */
  readonly fd: OwnedFd | undefined;
  /** Of the file as it was copied. */
  readonly identity: string;
}

/**
 * What is executed for the binaries of runtimes. Before runc and crun enter a container they copy themselves, or mount themselves
 * read-only, so that nothing inside can overwrite the binary through /proc/self/exe (a01): a quarter of an exec's time, each time.
 * Executed from a sealed memfd they see that this is done. So each is copied once, here, and again when its file has changed.
 */
export class RuntimePrograms {
  readonly #copies = new Map<string, Copy>();
  /** A monitor that was told of the copy before may not have executed it yet. */
  readonly #before = new Map<string, Copy>();
  #sealing = true;

  /** A path to execute, good while this process lives. Never fails: where there is no copy it is the binary's own. */
  programFor(path: string): string {
    if (!this.#sealing) return path;
    try {
      const identity = identityOf(statSync(path, { bigint: true }));
      if (this.#copies.get(path)?.identity !== identity) this.#copy(path, identity);
    } catch {
      return path; // Where the file has gone, executing it says so best.
    }
    const fd = this.#copies.get(path)?.fd;
    return fd === undefined ? path : `/proc/${process.pid}/fd/${fd.fd}`;
  }

  /** This system does not let us execute what is in memory: from now on the files are. */
  stopSealing(): void {
    this.#sealing = false;
    for (const copies of [this.#copies, this.#before]) {
      for (const copy of copies.values()) copy.fd?.[Symbol.dispose]();
      copies.clear();
    }
  }

  #copy(path: string, identity: string): void {
    const fd = copyOf(path);
    this.#before.get(path)?.fd?.[Symbol.dispose]();
    const last = this.#copies.get(path);
    if (last !== undefined) this.#before.set(path, last);
    this.#copies.set(path, { fd, identity });
  }
}

function identityOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}

function copyOf(path: string): OwnedFd | undefined {
  try {
    return sealsItself(path) ? sealedCopy(path) : undefined;
  } catch {
    return undefined; // No memory, say: the runtime then does itself what is saved here.
  }
}

/** Known by name; and a program, no script: an interpreter would look for its text under a descriptor that it has not. */
function sealsItself(path: string): boolean {
  return ['runc', 'crun'].includes(basename(path)) && isElf(path);
}

function isElf(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const magic = Buffer.alloc(4);
    readSync(fd, magic, 0, 4, 0);
    return magic.equals(Buffer.from('\x7fELF', 'latin1'));
  } finally {
    closeSync(fd);
  }
}
