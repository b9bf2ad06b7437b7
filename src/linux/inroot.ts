import { readSync, writeSync } from 'node:fs';
import { Failure } from '../errors/index.ts';
import { OwnedFd, closeFd } from './fd.ts';
import {
  E,
  O,
  type Path,
  RESOLVE,
  S,
  chmodFd,
  chownAt,
  mkdirAt,
  openAt,
  openAt2,
  orThrow,
  readLinkAt,
  showPath,
  statOrThrow,
} from './files.ts';

/**
 * Access to a tree that somebody else filled (a container's root, an image's layer): every path is resolved by the
 * kernel with `rootFd` as its `/`, so neither `..` nor a symbolic link leaves it (needs a38, a78). `rootFd` stays the
 * caller's and may be O_PATH. All calls are synchronous; use them for small files.
 */
const IN_ROOT = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS;

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Opens the root itself; the caller owns it. Follows links: the path is the daemon's own. */
export function openRoot(path: string): OwnedFd {
  return new OwnedFd(orThrow(openAt(-100, path, O.PATH | O.DIRECTORY), 'open', path));
}

/** openat2 in the root; a Failure with code ENOENT, ENOTDIR, ELOOP, EEXIST, … */
export function openInRoot(rootFd: number, path: Path, flags: number, mode = 0): OwnedFd {
  return new OwnedFd(orThrow(openAt2(rootFd, path, flags, mode, IN_ROOT), 'open', path));
}

/** As openInRoot; undefined where the path does not exist (ENOENT, ENOTDIR). */
export function tryOpenInRoot(rootFd: number, path: Path, flags: number, mode = 0): OwnedFd | undefined {
  const fd = openAt2(rootFd, path, flags, mode, IN_ROOT);
  return fd === E.NOENT || fd === E.NOTDIR ? undefined : new OwnedFd(orThrow(fd, 'open', path));
}

/**
 * Reads a regular file of at most `maxBytes` (default 4 MiB); undefined if it does not exist. The type is looked at
 * before the file is opened, so a device, FIFO or socket under that name is refused without touching it.
 */
export function readFileInRoot(rootFd: number, path: Path, maxBytes = 4 * 1024 * 1024): Buffer | undefined {
  using found = tryOpenInRoot(rootFd, path, O.PATH);
  if (found === undefined) return undefined;
  using file = reopen(found.fd, path, O.RDONLY);
  const parts: Buffer[] = [];
  for (let total = 0; ;) {
    const part = Buffer.allocUnsafe(64 * 1024);
    const length = readSync(file.fd, part);
    if (length === 0) return Buffer.concat(parts);
    total += length;
    if (total > maxBytes) throw new Failure('ResourceExhausted', `${showPath(path)} is larger than ${maxBytes} bytes`, { code: 'EFBIG' });
    parts.push(part.subarray(0, length));
  }
}

/** The first bytes of a regular file, at most `length`; undefined where no file, or none that is regular, has that path. */
export function readHeadInRoot(rootFd: number, path: Path, length: number): Buffer | undefined {
  using found = tryOpenInRoot(rootFd, path, O.PATH);
  if (found === undefined || (statOrThrow(found.fd).mode & S.MASK) !== S.REG) return undefined;
  using file = reopen(found.fd, path, O.RDONLY);
  const head = Buffer.alloc(length);
  return head.subarray(0, readSync(file.fd, head));
}

export interface WriteInRoot {
  /** Exact mode, whatever the umask; an existing file keeps its own if this is not given. Default of a new file 0644. */
  readonly mode?: number;
  readonly owner?: Owner;
}

/** Creates or overwrites a regular file; a link under that name is followed inside the root, anything else refused. */
export function writeFileInRoot(rootFd: number, path: Path, data: string | Uint8Array, options: WriteInRoot = {}): void {
  using found = tryOpenInRoot(rootFd, path, O.PATH);
  using file = found === undefined ? createInRoot(rootFd, path) : reopen(found.fd, path, O.WRONLY | O.TRUNC);
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  for (let written = 0; written < bytes.length;) written += writeSync(file.fd, bytes, written);
  if (options.owner !== undefined) orThrow(chownAt(file.fd, '', options.owner.uid, options.owner.gid), 'chown', path);
  const mode = options.mode ?? (found === undefined ? 0o644 : undefined);
  if (mode !== undefined) orThrow(chmodFd(file.fd, mode), 'chmod', path); // After chown, which clears the set-id bits.
}

function createInRoot(rootFd: number, path: Path): OwnedFd {
  return openInRoot(rootFd, path, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600);
}

/** Opens for real what an O_PATH descriptor names, if it is a regular file. The new descriptor is the caller's. */
function reopen(fd: number, path: Path, flags: number): OwnedFd {
  const { mode } = statOrThrow(fd);
  if ((mode & S.MASK) !== S.REG) throw new Failure('FailedPrecondition', `${showPath(path)} is not a regular file`, { code: 'EINVAL' });
  return new OwnedFd(orThrow(openAt(-100, `/proc/self/fd/${fd}`, flags), 'open', path));
}

/**
 * Makes a directory and its missing parents, each with exactly `mode` and `owner` (existing ones are left alone), and
 * answers an O_PATH descriptor of it, the caller's. A dangling link on the way gets its target made, inside the root.
 * Fails with ENOTDIR where something else stands in the way.
 */
export function mkdirAllInRoot(rootFd: number, path: Path, mode = 0o755, owner?: Owner): OwnedFd {
  const wanted = Buffer.from(path);
  let budget = 4096; // Components, those of links included: a chain of links cannot keep us busy.
  const pending = components(wanted).reverse();
  let current = openInRoot(rootFd, '/', O.PATH | O.DIRECTORY);
  let done = Buffer.from('/');
  try {
    for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
      if (--budget < 0) throw new Failure('InvalidArgument', `mkdir ${showPath(path)}: too many levels of links`, { code: 'ELOOP' });
      const at = Buffer.concat([done, part, Buffer.from('/')]);
      const made = mkdirAt(current.fd, part, 0o700);
      if (made < 0 && made !== E.EXIST) orThrow(made, 'mkdir', path);
      const next = openAt2(rootFd, at, O.PATH | O.DIRECTORY, 0, IN_ROOT);
      const link = next === E.NOENT ? readLinkAt(current.fd, part) : next;
      if (typeof link !== 'number') {
        pending.push(...components(link).reverse());
        if (link[0] === 0x2f) [current, done] = [replaced(current, openInRoot(rootFd, '/', O.PATH | O.DIRECTORY)), Buffer.from('/')];
        continue;
      }
      current = replaced(current, new OwnedFd(orThrow(next, 'mkdir', path)));
      done = at;
      if (made === 0) setAttributes(current.fd, path, mode, owner);
    }
    return new OwnedFd(current.take());
  } finally {
    current[Symbol.dispose]();
  }
}

function setAttributes(directory: number, path: Path, mode: number, owner: Owner | undefined): void {
  if (owner !== undefined) orThrow(chownAt(directory, '', owner.uid, owner.gid), 'chown', path);
  const fd = orThrow(openAt(directory, '.', O.RDONLY | O.DIRECTORY), 'open', path);
  try {
    orThrow(chmodFd(fd, mode), 'chmod', path);
  } finally {
    closeFd(fd);
  }
}

function replaced(old: OwnedFd, next: OwnedFd): OwnedFd {
  old[Symbol.dispose]();
  return next;
}

/** Components without empty ones and `.`; `..` stays, for only the kernel knows where it leads behind a link. */
function components(path: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (const part of path.toString('latin1').split('/')) {
    if (part !== '' && part !== '.') parts.push(Buffer.from(part, 'latin1'));
  }
  return parts;
}
