import { constants } from 'node:os';
import { Failure } from '../errors/index.ts';
import { lastErrno, libc, syscallFailure } from './libc.ts';

/**
 * The at-calls: everything relative to a directory's descriptor. Each answers the kernel's way, a value ≥ 0 or
 * −errno, because ENOENT and EEXIST are ordinary answers here; `orThrow` turns the others into a Failure.
 * None takes ownership of a descriptor that it is given; each may block on the file system's own I/O.
 */

/** A path as text, or as bytes where a name need not be UTF-8. Neither may contain NUL. */
export type Path = string | Uint8Array;

/** Negated, as the calls answer them. */
export const E = {
  PERM: -constants.errno.EPERM,
  NOENT: -constants.errno.ENOENT,
  INTR: -constants.errno.EINTR,
  AGAIN: -constants.errno.EAGAIN,
  EXIST: -constants.errno.EEXIST,
  NOTDIR: -constants.errno.ENOTDIR,
  ISDIR: -constants.errno.EISDIR,
  INVAL: -constants.errno.EINVAL,
  LOOP: -constants.errno.ELOOP,
  NOTSUP: -constants.errno.EOPNOTSUPP,
  RANGE: -constants.errno.ERANGE,
  NODATA: -constants.errno.ENODATA,
  NOTEMPTY: -constants.errno.ENOTEMPTY,
} as const;

export const AT = { FDCWD: -100, SYMLINK_NOFOLLOW: 0x100, REMOVEDIR: 0x200, SYMLINK_FOLLOW: 0x400, EMPTY_PATH: 0x1000 } as const;

const arm = process.arch === 'arm64';

/** Open flags; four of them differ between x86-64 and arm64. */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  NOCTTY: 0o400,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  DIRECTORY: arm ? 0o40000 : 0o200000,
  NOFOLLOW: arm ? 0o100000 : 0o400000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
} as const;

/** Flags of openat2(2). */
export const RESOLVE = { NO_XDEV: 1, NO_MAGICLINKS: 2, NO_SYMLINKS: 4, BENEATH: 8, IN_ROOT: 16 } as const;

/** The type bits of a mode. */
export const S = { MASK: 0o170000, FIFO: 0o010000, CHR: 0o020000, DIR: 0o040000, BLK: 0o060000, REG: 0o100000, LNK: 0o120000 } as const;

const openatFn = libc.func('int openat(int, const char *, int, unsigned int)');
const mkdiratFn = libc.func('int mkdirat(int, const char *, unsigned int)');
const mknodatFn = libc.func('int mknodat(int, const char *, unsigned int, uint64_t)');
const linkatFn = libc.func('int linkat(int, const char *, int, const char *, int)');
const ioctlFn = libc.func('int ioctl(int, unsigned long, unsigned long)');
const symlinkatFn = libc.func('int symlinkat(const char *, int, const char *)');
const unlinkatFn = libc.func('int unlinkat(int, const char *, int)');
const renameat2Fn = libc.func('int renameat2(int, const char *, int, const char *, unsigned int)');
const fchownatFn = libc.func('int fchownat(int, const char *, unsigned int, unsigned int, int)');
const fchmodFn = libc.func('int fchmod(int, unsigned int)');
const chmodFn = libc.func('int chmod(const char *, unsigned int)');
const utimensatFn = libc.func('int utimensat(int, const char *, const void *, int)');
const futimensFn = libc.func('int futimens(int, const void *)');
const readlinkatFn = libc.func('long readlinkat(int, const char *, void *, unsigned long)');
const statxFn = libc.func('int statx(int, const char *, int, unsigned int, void *)');
// glibc has no openat2 yet; 437 on every architecture.
const openat2Fn = libc.func('syscall', 'long', ['long', 'int', 'const char *', 'const void *', 'unsigned long']);
const OPENAT2 = 437;
const FICLONE = 0x40049409;

/** What libc takes: text without NUL, or bytes that end in one. */
export function cPath(path: Path): Path {
  if (typeof path === 'string') {
    if (path.includes('\0')) throw nulInPath();
    return path;
  }
  const nul = path.indexOf(0);
  if (nul >= 0) throw nulInPath();
  const bytes = new Uint8Array(path.length + 1);
  bytes.set(path);
  return bytes;
}

function nulInPath(): Failure {
  return new Failure('InvalidArgument', 'a path contains a NUL byte', { code: 'EINVAL' });
}

/** A path for messages. */
export function showPath(path: Path): string {
  return typeof path === 'string' ? path : Buffer.from(path).toString('utf8');
}

/** Passes a result ≥ 0 on; a negated errno becomes a Failure `<call> <on>: <text>` with the errno's name as code. */
export function orThrow(result: number, call: string, on: Path): number {
  if (result >= 0) return result;
  throw syscallFailure(call, showPath(on), -result);
}

/** What koffi answers, the kernel's way. */
function answer(returned: unknown): number {
  const result = Number(returned);
  return result >= 0 ? result : -lastErrno();
}

/** openat(2) with O_CLOEXEC. The caller owns the descriptor that comes back. */
export function openAt(dir: number, path: Path, flags: number, mode = 0): number {
  return answer(openatFn(dir, cPath(path), flags | O.CLOEXEC, mode));
}

/** openat2(2) with O_CLOEXEC; repeats EAGAIN, which means "the tree changed while I looked". The caller owns the descriptor. */
export function openAt2(dir: number, path: Path, flags: number, mode: number, resolve: number): number {
  const how = new BigUint64Array([BigInt(flags | O.CLOEXEC), BigInt(mode), BigInt(resolve)]);
  const name = cPath(path);
  for (let attempt = 0; ; attempt++) {
    const result = answer(openat2Fn(OPENAT2, dir, name, how, how.byteLength));
    if ((result !== E.AGAIN && result !== E.INTR) || attempt === 127) return result;
  }
}

export function mkdirAt(dir: number, path: Path, mode: number): number {
  return answer(mkdiratFn(dir, cPath(path), mode));
}

/** mknodat(2); `mode` with its type bits, `device` from makeDevice. EPERM in a user namespace. */
export function mknodAt(dir: number, path: Path, mode: number, device: bigint): number {
  return answer(mknodatFn(dir, cPath(path), mode, device));
}

/** linkat(2) without following a symbolic link at the end of `from`. */
export function linkAt(fromDir: number, from: Path, toDir: number, to: Path): number {
  return answer(linkatFn(fromDir, cPath(from), toDir, cPath(to), 0));
}

/** linkat(2) of an open file: one more name for it, on the same file system and mount. Needs /proc. */
export function linkFd(fd: number, toDir: number, to: Path): number {
  return answer(linkatFn(AT.FDCWD, `/proc/self/fd/${fd}`, toDir, cPath(to), AT.SYMLINK_FOLLOW));
}

/** ioctl_ficlone(2): `to`, open for writing, shares all data of `from` until one of them is written; −EOPNOTSUPP, −EXDEV and the like where that is impossible. */
export function cloneFile(to: number, from: number): number {
  return answer(ioctlFn(to, FICLONE, from));
}

export function symlinkAt(target: Path, dir: number, path: Path): number {
  return answer(symlinkatFn(cPath(target), dir, cPath(path)));
}

/** unlinkat(2); `flags` AT.REMOVEDIR for a directory. */
export function unlinkAt(dir: number, path: Path, flags = 0): number {
  return answer(unlinkatFn(dir, cPath(path), flags));
}

/** renameat2(2); with `noReplace` an existing target is left alone and the answer is −EEXIST. */
export function renameAt(fromDir: number, from: Path, toDir: number, to: Path, noReplace = false): number {
  return answer(renameat2Fn(fromDir, cPath(from), toDir, cPath(to), noReplace ? 1 : 0));
}

/** fchownat(2) that never follows a symbolic link at the end; an empty path means `dir` itself, which may be O_PATH. */
export function chownAt(dir: number, path: Path, uid: number, gid: number): number {
  return answer(fchownatFn(dir, cPath(path), uid, gid, AT.SYMLINK_NOFOLLOW | AT.EMPTY_PATH));
}

/** fchmod(2): exact, whatever the umask. Not for O_PATH descriptors. */
export function chmodFd(fd: number, mode: number): number {
  return answer(fchmodFn(fd, mode));
}

/** chmod of what an O_PATH descriptor names, a device or FIFO never opened for it. Needs /proc; not for symbolic links. */
export function chmodPathFd(fd: number, mode: number): number {
  return answer(chmodFn(`/proc/self/fd/${fd}`, mode));
}

/** Seconds since 1970 and nanoseconds 0…999,999,999. */
export interface FileTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** utimensat(2) that never follows a symbolic link at the end; an empty path means `dir` itself, which may be O_PATH. */
export function setTimesAt(dir: number, path: Path, accessed: FileTime, modified: FileTime): number {
  return answer(utimensatFn(dir, cPath(path), timespecs(accessed, modified), AT.SYMLINK_NOFOLLOW | AT.EMPTY_PATH));
}

export function setTimesFd(fd: number, accessed: FileTime, modified: FileTime): number {
  return answer(futimensFn(fd, timespecs(accessed, modified)));
}

function timespecs(accessed: FileTime, modified: FileTime): Uint32Array {
  const { seconds: a } = accessed;
  const { seconds: m } = modified;
  const high = 2 ** 32;
  return Uint32Array.of(a >>> 0, Math.floor(a / high), accessed.nanoseconds, 0, m >>> 0, Math.floor(m / high), modified.nanoseconds, 0);
}

/** The target's bytes, at most 4,095; a negated errno for what is no symbolic link (EINVAL) or not there. */
export function readLinkAt(dir: number, path: Path): Buffer | number {
  const target = Buffer.alloc(4096);
  const length = answer(readlinkatFn(dir, cPath(path), target, target.length));
  return length < 0 ? length : target.subarray(0, length);
}

export interface FileStat {
  /** With the type bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  /** Exact up to 2^53. */
  readonly size: number;
  readonly inode: bigint;
  readonly major: number;
  readonly minor: number;
  /** Of the file system. */
  readonly device: string;
  readonly modified: FileTime;
}

/** statx(2), never following a symbolic link at the end; an empty path means `dir` itself (O_PATH will do). */
export function statAt(dir: number, path: Path = ''): FileStat | number {
  const raw = Buffer.alloc(256);
  const result = answer(statxFn(dir, cPath(path), AT.SYMLINK_NOFOLLOW | AT.EMPTY_PATH, 0x7ff, raw));
  if (result < 0) return result;
  return {
    links: raw.readUInt32LE(16),
    uid: raw.readUInt32LE(20),
    gid: raw.readUInt32LE(24),
    mode: raw.readUInt16LE(28),
    inode: raw.readBigUInt64LE(32),
    size: Number(raw.readBigUInt64LE(40)),
    modified: { seconds: Number(raw.readBigInt64LE(112)), nanoseconds: raw.readUInt32LE(120) },
    major: raw.readUInt32LE(128),
    minor: raw.readUInt32LE(132),
    device: `${raw.readUInt32LE(136)}:${raw.readUInt32LE(140)}`,
  };
}

/** As statAt, for callers to whom every error is one. */
export function statOrThrow(dir: number, path: Path = ''): FileStat {
  const stat = statAt(dir, path);
  if (typeof stat === 'number') throw syscallFailure('stat', showPath(path), -stat);
  return stat;
}

/** dev_t as glibc packs it: 12 bits of major and 20 of minor are what Linux accepts; undefined beyond. */
export function makeDevice(major: number, minor: number): bigint | undefined {
  if (!(major >= 0 && major < 4096 && minor >= 0 && minor < 1 << 20)) return undefined;
  return (BigInt(minor & ~0xff) << 12n) | (BigInt(major) << 8n) | BigInt(minor & 0xff);
}
