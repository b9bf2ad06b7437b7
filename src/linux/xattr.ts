import { E, type Path, cPath } from './files.ts';
import { lastErrno, libc } from './libc.ts';

/**
 * Extended attributes. Each answers a value ≥ 0 or −errno (ENODATA: no such attribute, EOPNOTSUPP: the file system
 * has none, EPERM: not for this kind of file), never follows a link at the end, and may block on the file system's I/O.
 */
const lsetxattrFn = libc.func('int lsetxattr(const char *, const char *, const void *, unsigned long, int)');
const fsetxattrFn = libc.func('int fsetxattr(int, const char *, const void *, unsigned long, int)');
const lgetxattrFn = libc.func('long lgetxattr(const char *, const char *, void *, unsigned long)');
const llistxattrFn = libc.func('long llistxattr(const char *, void *, unsigned long)');
const fgetxattrFn = libc.func('long fgetxattr(int, const char *, void *, unsigned long)');
const flistxattrFn = libc.func('long flistxattr(int, void *, unsigned long)');
const lremovexattrFn = libc.func('int lremovexattr(const char *, const char *)');

/** Sets an attribute of an open file or directory (not of an O_PATH descriptor). */
export function setXattrFd(fd: number, name: Path, value: Uint8Array): number {
  return answer(fsetxattrFn(fd, cPath(name), value, value.length, 0));
}

/** Sets an attribute of `entry`, one component, in the directory `dir`. Needs /proc. */
export function setXattrAt(dir: number, entry: Path, name: Path, value: Uint8Array): number {
  return answer(lsetxattrFn(entryPath(dir, entry), cPath(name), value, value.length, 0));
}

export function setXattr(path: Path, name: Path, value: Uint8Array): number {
  return answer(lsetxattrFn(cPath(path), cPath(name), value, value.length, 0));
}

export function removeXattr(path: Path, name: Path): number {
  return answer(lremovexattrFn(cPath(path), cPath(name)));
}

export function getXattr(path: Path, name: Path): Buffer | number {
  return grown((buffer) => lgetxattrFn(cPath(path), cPath(name), buffer, buffer.length));
}

export function getXattrFd(fd: number, name: Path): Buffer | number {
  return grown((buffer) => fgetxattrFn(fd, cPath(name), buffer, buffer.length));
}

/** The names, or a negated errno. */
export function listXattr(path: Path): string[] | number {
  return namesIn(grown((buffer) => llistxattrFn(cPath(path), buffer, buffer.length)));
}

/** As listXattr, of an open file or directory. */
export function listXattrFd(fd: number): string[] | number {
  return namesIn(grown((buffer) => flistxattrFn(fd, buffer, buffer.length)));
}

function namesIn(list: Buffer | number): string[] | number {
  return typeof list === 'number' ? list : list.toString('utf8').split('\0').slice(0, -1);
}

/** The kernel's bound for values and lists is 64 KiB, so ERANGE comes once at most. */
function grown(call: (buffer: Buffer) => unknown): Buffer | number {
  for (const size of [256, 65536]) {
    const buffer = Buffer.alloc(size);
    const length = answer(call(buffer));
    if (length !== E.RANGE) return length < 0 ? length : buffer.subarray(0, length);
  }
  return E.RANGE;
}

/** The descriptor pins the directory, and the l-calls do not follow the one component after it. */
function entryPath(dir: number, entry: Path): Path {
  const bytes = Buffer.from(entry);
  if (bytes.length === 0 || bytes.includes(0x2f)) throw new RangeError('an entry is one component');
  return cPath(Buffer.concat([Buffer.from(`/proc/self/fd/${dir}/`), bytes]));
}

function answer(returned: unknown): number {
  const result = Number(returned);
  return result >= 0 ? result : -lastErrno();
}
