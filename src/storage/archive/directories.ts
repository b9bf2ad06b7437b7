import {
  E,
  type FileTime,
  O,
  OwnedFd,
  RESOLVE,
  chmodFd,
  chownAt,
  closeFd,
  mkdirAt,
  openAt,
  openAt2,
  orThrow,
  setTimesAt,
  setTimesFd,
} from '../../linux/index.ts';
import { toPath } from './names.ts';

/** Descriptors kept open: far fewer than a process may have, enough for the directories that a layer works in at a time. */
const KEPT = 128;

const IN_ROOT = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS;

/**
 * Open directories of a tree by their path inside it. The kernel resolves each path with the tree as its `/`, so none
 * leaves it (needs a38). Whoever removes or replaces something must `forget` all: a path may lead elsewhere then.
 */
export class Directories implements Disposable {
  readonly #root: OwnedFd;
  readonly #owner: { readonly uid: number; readonly gid: number };
  /** In the order of use, the least recent first. */
  readonly #open = new Map<string, number>();
  #lastPath = '';
  #lastFd = -1;

  /** `owner`: of parents that the archive does not describe. */
  constructor(root: string, owner: { readonly uid: number; readonly gid: number }) {
    this.#root = new OwnedFd(orThrow(openAt(-100, root, O.RDONLY | O.DIRECTORY), 'open', root));
    this.#owner = owner;
  }

  get root(): number {
    return this.#root.fd;
  }

  /** The directory's descriptor, still owned here and good until two other directories were asked for; or −errno. */
  get(path: string): number {
    if (path === '') return this.#root.fd;
    if (path === this.#lastPath) return this.#lastFd;
    const known = this.#open.get(path);
    if (known !== undefined) {
      this.#open.delete(path);
      this.#open.set(path, known);
      return this.#remember(path, known);
    }
    const fd = this.#openFresh(path);
    return fd < 0 ? fd : this.add(path, fd);
  }

  /** As get; missing directories are made on the way, mode 0755 [§4.1 step 2]. */
  getOrMake(path: string): number {
    const found = this.get(path);
    if (found !== E.NOENT) return found;
    // From the top, so that each level is one step from an open one: a path of thousands of levels stays cheap.
    for (let slash = path.indexOf('/'); ; slash = path.indexOf('/', slash + 1)) {
      const prefix = slash < 0 ? path : path.slice(0, slash);
      const there = this.get(prefix);
      const fd = there === E.NOENT ? this.#make(prefix) : there;
      if (fd < 0 || slash < 0) return fd;
    }
  }

  /** Sets the times of whatever the path leads to: a directory, unless a later member took its place. */
  setTimes(path: string, accessed: FileTime, modified: FileTime): number {
    const fd = this.get(path);
    if (fd >= 0) return setTimesFd(fd, accessed, modified);
    if (fd !== E.NOTDIR) return fd;
    const other = openAt2(this.#root.fd, toPath(path), O.PATH, 0, IN_ROOT);
    if (other < 0) return other;
    const result = setTimesAt(other, '', accessed, modified);
    closeFd(other);
    return result;
  }

  /** A directory below an open one is one step away; a link, and what stands below an unknown one, is the kernel's to resolve. */
  #openFresh(path: string): number {
    const slash = path.lastIndexOf('/');
    const parent = slash < 0 ? this.#root.fd : this.#open.get(path.slice(0, slash));
    if (parent !== undefined) {
      const fd = openAt(parent, toPath(path.slice(slash + 1)), O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
      if (fd >= 0 || fd === E.NOENT) return fd;
    }
    return openAt2(this.#root.fd, toPath(path), O.RDONLY | O.DIRECTORY, 0, IN_ROOT);
  }

  #make(path: string): number {
    const slash = path.lastIndexOf('/');
    const parent = this.get(slash < 0 ? '' : path.slice(0, slash));
    if (parent < 0) return parent;
    const base = toPath(path.slice(slash + 1));
    const made = mkdirAt(parent, base, 0o755);
    // Something is there, and yet no directory was found: a link that leads nowhere.
    if (made < 0) return made === E.EXIST ? E.NOENT : made;
    const fd = openAt(parent, base, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
    if (fd < 0) return fd;
    this.add(path, fd);
    orThrow(chownAt(fd, '', this.#owner.uid, this.#owner.gid), 'chown', toPath(path));
    orThrow(chmodFd(fd, 0o755), 'chmod', toPath(path));
    return fd;
  }

  /** Takes over the descriptor of a directory that was just made or opened. */
  add(path: string, fd: number): number {
    const known = this.#open.get(path);
    if (known !== undefined) {
      this.#open.delete(path);
      closeFd(known);
    } else if (this.#open.size >= KEPT) this.#closeOldest();
    this.#open.set(path, fd);
    return this.#remember(path, fd);
  }

  forget(): void {
    for (const fd of this.#open.values()) closeFd(fd);
    this.#open.clear();
    this.#lastPath = '';
  }

  [Symbol.dispose](): void {
    this.forget();
    this.#root[Symbol.dispose]();
  }

  #remember(path: string, fd: number): number {
    this.#lastPath = path;
    this.#lastFd = fd;
    return fd;
  }

  #closeOldest(): void {
    for (const [path, fd] of this.#open) {
      this.#open.delete(path);
      closeFd(fd);
      return;
    }
  }
}
