import { OwnedFd } from './fd.ts';
import { lastError, libc } from './libc.ts';
import { EPOLL, type Readiness } from './readiness.ts';

const inotifyInitFn = libc.func('int inotify_init1(int)');
const inotifyAddFn = libc.func('int inotify_add_watch(int, const char *, uint32_t)');
const readFn = libc.func('long read(int, void *, size_t)');

const NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const IN = { CLOSE_WRITE: 0x8, MOVED_TO: 0x80, Q_OVERFLOW: 0x4000 } as const;
/** struct inotify_event: watch, mask, cookie, length of the name; then the name, padded with NULs. */
const HEADER = 16;
const BUFFER = 64 * 1024;

/**
 * Tells of files that appear in a directory, complete: renamed into it, or closed after writing. Unlike fs.watch it also tells when the
 * kernel had more events than its queue holds and dropped some: then the directory must be read.
 */
export class DirectoryWatch {
  readonly #readiness: Readiness;
  readonly #fd: OwnedFd;
  readonly #onFile: (name: string) => void;
  readonly #onOverflow: () => void;

  constructor(readiness: Readiness, directory: string, on: { readonly file: (name: string) => void; readonly overflow: () => void }) {
    this.#readiness = readiness;
    this.#onFile = on.file;
    this.#onOverflow = on.overflow;
    const fd = Number(inotifyInitFn(NONBLOCK_CLOEXEC));
    if (fd < 0) throw lastError('inotify_init1', directory);
    this.#fd = new OwnedFd(fd);
    if (Number(inotifyAddFn(fd, directory, IN.CLOSE_WRITE | IN.MOVED_TO)) < 0) {
      const error = lastError('inotify_add_watch', directory);
      this.#fd[Symbol.dispose]();
      throw error;
    }
    readiness.add(fd, EPOLL.IN, () => this.#read());
  }

  close(): void {
    this.#readiness.remove(this.#fd.fd);
    this.#fd[Symbol.dispose]();
  }

  #read(): void {
    const buffer = Buffer.alloc(BUFFER);
    let overflow = false;
    for (;;) {
      const length = Number(readFn(this.#fd.fd, buffer, buffer.length));
      if (length <= 0) break; // EAGAIN: all has been read.
      for (let at = 0; at < length; at += HEADER + buffer.readUInt32LE(at + 12)) {
        if ((buffer.readUInt32LE(at + 4) & IN.Q_OVERFLOW) !== 0) overflow = true;
        else this.#onFile(nameAt(buffer, at));
      }
    }
    if (overflow) this.#onOverflow();
  }
}

function nameAt(buffer: Buffer, at: number): string {
  const name = buffer.subarray(at + HEADER, at + HEADER + buffer.readUInt32LE(at + 12));
  const end = name.indexOf(0);
  return name.toString('utf8', 0, end < 0 ? name.length : end);
}
