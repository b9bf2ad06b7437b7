import { readFileSync } from 'node:fs';
import {
  E,
  type FileStat,
  type FileTime,
  O,
  type Path,
  S,
  chmodFd,
  chmodPathFd,
  chownAt,
  closeFd,
  getXattr,
  getXattrFd,
  listXattrFd,
  openAt,
  orThrow,
  setTimesAt,
  setTimesFd,
  setXattrAt,
  setXattrFd,
  statOrThrow,
} from '../../linux/index.ts';
import { Failure } from '../../errors/index.ts';
import { toPath, toText } from './names.ts';
import type { TarEntry } from './tar-reader.ts';

export const EPOCH: FileTime = { seconds: 0, nanoseconds: 0 };
const S_ISGID = 0o2000;
/** Set-user-id, set-group-id, sticky: set by chmod only, after chown. */
const S_SETID = 0o7000;
const DEFAULT_ACL = 'system.posix_acl_default';
/** Go counts nanoseconds in 63 bits; what lies beyond is 1970 to it [cri-o-ondisk §4.1 step 9]. */
const MAX_SECONDS = 9_223_372_036;

/** Where an attribute is set: an open file, or an entry of a directory. */
export type Place = { readonly fd: number } | { readonly dir: number; readonly entry: Path };

/** Who owns the result, by the host's ids. */
export interface Ids {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Gives what was made the owner, mode, times and xattrs of its header, in the order of §4.1: chown first, because it
 * clears set-id bits and file capabilities.
 */
export class Describer {
  readonly #xattrs: XattrFilter;
  readonly #own: Ids;
  /** Some directory may hand its group on to what is made in it. */
  #groupsInherit: boolean;

  /** Bits that a new file may not get from its creation. */
  #masked: number;

  /** `root`: the directory that is unpacked into, which stays the caller's. */
  constructor(o: { readonly root: number; readonly inUserNamespace: boolean; readonly warn: (message: string) => void }) {
    this.#xattrs = new XattrFilter(o);
    // An inherited ACL would replace the umask.
    this.#masked = typeof getXattr(`/proc/self/fd/${o.root}/.`, DEFAULT_ACL) === 'number' ? S_SETID | umask() : 0o7777;
    this.#own = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
    this.#groupsInherit = (statOrThrow(o.root).mode & S_ISGID) !== 0;
  }

  /** What to create a file with: its mode, if that is sure to come out (chmod costs 10 µs a file), else the owner's only. */
  creationMode(entry: TarEntry): number {
    return this.#comesOut(entry.mode) ? entry.mode & 0o777 : 0o600;
  }

  /** A new file, made with `creationMode`. */
  file(fd: number, entry: TarEntry, ids: Ids): void {
    const on = toText(entry.name);
    if (!this.#isBorn(ids)) orThrow(chownAt(fd, '', ids.uid, ids.gid), 'chown', on);
    if (!this.#comesOut(entry.mode)) orThrow(chmodFd(fd, entry.mode & 0o7777), 'chmod', on);
    orThrow(setTimesFd(fd, accessTime(entry), validTime(entry.modified)), 'utimes', on);
    this.#xattrs.apply({ fd }, entry);
  }

  /** Whether `file` would change nothing of a file but its time of access. */
  isDescribed(fd: number, entry: TarEntry, ids: Ids): boolean {
    const stat = statOrThrow(fd);
    const same = stat.uid === ids.uid && stat.gid === ids.gid && (stat.mode & 0o7777) === (entry.mode & 0o7777);
    return same && hasTime(stat, validTime(entry.modified)) && this.#xattrs.areSet(fd, entry);
  }

  /** A directory, new or not; its times come at the archive's end. */
  directory(fd: number, entry: TarEntry, ids: Ids, made: boolean): void {
    const on = toText(entry.name);
    if ((entry.mode & S_ISGID) !== 0) this.#groupsInherit = true;
    if (entry.xattrs.has(DEFAULT_ACL)) this.#masked = 0o7777;
    if (!made || !this.#isBorn(ids)) orThrow(chownAt(fd, '', ids.uid, ids.gid), 'chown', on);
    orThrow(chmodFd(fd, entry.mode & 0o7777), 'chmod', on);
    this.#xattrs.apply({ fd }, entry);
  }

  symlink(dir: number, base: Path, entry: TarEntry, ids: Ids): void {
    this.#ownerAt(dir, base, entry, ids);
    this.#timesAt(dir, base, entry);
    this.#xattrs.apply({ dir, entry: base }, entry);
  }

  /** A device or FIFO, which is never opened. */
  special(dir: number, base: Path, entry: TarEntry, ids: Ids): void {
    this.#ownerAt(dir, base, entry, ids);
    chmodUnopened(dir, base, entry);
    this.#timesAt(dir, base, entry);
    this.#xattrs.apply({ dir, entry: base }, entry);
  }

  /** A new name of an existing file: what is right already stays untouched, mode and times of links too. */
  hardLink(dir: number, base: Path, entry: TarEntry, ids: Ids): void {
    const stat = statOrThrow(dir, base);
    const owned = stat.uid === ids.uid && stat.gid === ids.gid;
    if (!owned) orThrow(chownAt(dir, base, ids.uid, ids.gid), 'chown', toText(entry.name));
    if ((stat.mode & S.MASK) !== S.LNK) {
      if (!owned || (stat.mode & 0o7777) !== (entry.mode & 0o7777)) chmodUnopened(dir, base, entry);
      if (!hasTime(stat, validTime(entry.modified)) || entry.accessed !== undefined) this.#timesAt(dir, base, entry);
    }
    this.#xattrs.apply({ dir, entry: base }, entry);
  }

  /** A whiteout has an owner and nothing else. */
  owner(dir: number, base: Path, entry: TarEntry, ids: Ids): void {
    this.#ownerAt(dir, base, entry, ids);
  }

  /** Whether what this process makes has these ids from the start: chown costs 10 µs a file. */
  #isBorn(ids: Ids): boolean {
    return ids.uid === this.#own.uid && ids.gid === this.#own.gid && !this.#groupsInherit;
  }

  #comesOut(mode: number): boolean {
    return (mode & this.#masked) === 0;
  }

  #ownerAt(dir: number, base: Path, entry: TarEntry, ids: Ids): void {
    if (!this.#isBorn(ids)) orThrow(chownAt(dir, base, ids.uid, ids.gid), 'chown', toText(entry.name));
  }

  #timesAt(dir: number, base: Path, entry: TarEntry): void {
    orThrow(setTimesAt(dir, base, accessTime(entry), validTime(entry.modified)), 'utimes', toText(entry.name));
  }
}

function hasTime(stat: FileStat, time: FileTime): boolean {
  return stat.modified.seconds === time.seconds && stat.modified.nanoseconds === time.nanoseconds;
}

function chmodUnopened(dir: number, base: Path, entry: TarEntry): void {
  const on = toText(entry.name);
  const fd = orThrow(openAt(dir, base, O.PATH | O.NOFOLLOW), 'open', on);
  try {
    orThrow(chmodPathFd(fd, entry.mode & 0o7777), 'chmod', on);
  } finally {
    closeFd(fd);
  }
}

/** Read, not asked by umask(2), which would set it to 0 for a moment, for all threads. */
function umask(): number {
  const line = /^Umask:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'));
  return line === null ? 0o777 : Number.parseInt(line[1] ?? '777', 8);
}

export function validTime(time: FileTime): FileTime {
  return time.seconds < 0 || time.seconds >= MAX_SECONDS ? EPOCH : time;
}

/** The later of the header's two times. */
function accessTime(entry: TarEntry): FileTime {
  const { accessed, modified } = entry;
  if (accessed === undefined) return validTime(modified);
  const later =
    accessed.seconds > modified.seconds || (accessed.seconds === modified.seconds && accessed.nanoseconds > modified.nanoseconds);
  return validTime(later ? accessed : modified);
}

/** Sets the xattrs of members and says which are not an image's to set. */
class XattrFilter {
  readonly #overlay: string;
  readonly #warn: (message: string) => void;
  readonly #inUserNamespace: boolean;
  #warned = false;

  constructor(o: { readonly inUserNamespace: boolean; readonly warn: (message: string) => void }) {
    this.#overlay = overlayPrefix(o.inUserNamespace);
    this.#inUserNamespace = o.inUserNamespace;
    this.#warn = o.warn;
  }

  apply(place: Place, entry: TarEntry): void {
    for (const [name, value] of entry.xattrs) if (!this.#isOurs(name)) this.#set(place, entry, name, value);
  }

  /** Whether the open file has the attributes of its header, and no other. */
  areSet(fd: number, entry: TarEntry): boolean {
    const listed = listXattrFd(fd);
    const names = typeof listed === 'number' ? [] : listed.filter((name) => !this.#isOurs(name));
    const wanted = entry.xattrs
      .entries()
      .filter(([name]) => !this.#isOurs(name))
      .toArray();
    const isSet = ([name, value]: readonly [string, Buffer]) => {
      const found = getXattrFd(fd, toPath(name));
      return typeof found !== 'number' && found.equals(value);
    };
    return names.length === wanted.length && wanted.every(isSet);
  }

  /**
   * SELinux labels are the mount's. Overlay's own attributes would let a layer redirect a directory or a file's data
   * to other places of the lower layers: against CRI-O we strip them (design §3, needs a39).
   */
  #isOurs(name: string): boolean {
    return name === 'security.selinux' || name.startsWith(this.#overlay);
  }

  #set(place: Place, entry: TarEntry, name: string, value: Buffer): void {
    const result = 'fd' in place ? setXattrFd(place.fd, toPath(name), value) : setXattrAt(place.dir, place.entry, toPath(name), value);
    if (result >= 0) return;
    if (result !== E.NOTSUP && !(result === E.PERM && this.#inUserNamespace)) {
      if (name === '') throw new Failure('InvalidArgument', `${toText(entry.name)}: an xattr without a name`, { code: 'EINVAL' });
      orThrow(result, `setxattr ${toText(name)}`, toText(entry.name));
    }
    if (!this.#warned) this.#warn(`Cannot set xattr ${toText(name)} of ${toText(entry.name)} (further ones are not reported)`);
    this.#warned = true;
  }
}

/** Overlay reads its attributes under this prefix. */
export function overlayPrefix(inUserNamespace: boolean): string {
  return inUserNamespace ? 'user.overlay.' : 'trusted.overlay.';
}
