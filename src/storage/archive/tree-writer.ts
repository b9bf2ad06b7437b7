import { ftruncateSync, writeSync } from 'node:fs';
import { Failure, wrap } from '../../errors/index.ts';
import {
  E,
  type FileTime,
  O,
  OwnedFd,
  type Path,
  S,
  cloneFile,
  closeFd,
  linkAt,
  linkFd,
  makeDevice,
  mkdirAt,
  mknodAt,
  openAt,
  orThrow,
  removeTreeAt,
  setXattrFd,
  statOrThrow,
  symlinkAt,
  unlinkAt,
} from '../../linux/index.ts';
import { EPOCH, type Ids, Describer, overlayPrefix, validTime } from './attributes.ts';
import { Directories } from './directories.ts';
import type { HostIds } from './idmap.ts';
import { type CleanName, cleanName, toPath, toText } from './names.ts';
import { TYPE } from './tar-header.ts';
import type { TarEntry } from './tar-reader.ts';

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

export function isWhiteout(base: string): boolean {
  return base.startsWith(WHITEOUT);
}

/**
 * Writes members of a layer below one directory as containers/storage's overlay driver does [cri-o-ondisk §4.1, §4.2].
 * Everything is relative to directory descriptors that the kernel resolved inside the tree; the last component is never
 * followed. `begin`, `write`…, `end` for each member, `finish` once.
 */
export class TreeWriter implements Disposable {
  readonly #directories: Directories;
  readonly #ids: HostIds;
  readonly #describe: Describer;
  readonly #inUserNamespace: boolean;
  readonly #directoryTimes: { readonly path: string; readonly accessed: FileTime; readonly modified: FileTime }[] = [];
  /** The file that is being written, and what its header says. */
  #file = -1;
  #entry: TarEntry | undefined;
  #name: CleanName | undefined;
  #owner: Ids = { uid: 0, gid: 0 };
  /** How its contents come: nothing was written yet; `write` writes them; they are there already. */
  #contents: 'none' | 'written' | 'shared' = 'none';
  /** Inodes of other layers that have a name here too: nothing of them may change. */
  readonly #foreign = new Set<bigint>();

  constructor(o: { root: string; ids: HostIds; inUserNamespace: boolean; warn: (message: string) => void }) {
    this.#directories = new Directories(o.root, { uid: o.ids.uid(0), gid: o.ids.gid(0) });
    this.#ids = o.ids;
    this.#inUserNamespace = o.inUserNamespace;
    this.#describe = new Describer({ ...o, root: this.#directories.root });
  }

  begin(entry: TarEntry, name: CleanName): void {
    // The entry for the root itself, usually `./`, is ignored; one named `/` is not. Global headers name nothing.
    if (name.key === '.' || entry.type === TYPE.PAX_GLOBAL) return;
    try {
      this.#make(entry, name);
    } catch (error) {
      throw wrap(toText(entry.name), error);
    }
  }

  /**
   * The file begun last has the same contents, `size` bytes, as an open file of another layer: they are shared with it by a clone,
   * else by a hard link if that is wanted and would change neither, and `write` has nothing to do; else `write` copies them.
   */
  share(from: number, size: number, hardLinks: boolean): void {
    // Whatever was said of it before, the archive decides what this file is.
    if (this.#file < 0 || this.#contents !== 'none' || this.#entry?.size !== size || this.#entry.sparse) return;
    if (cloneFile(this.#file, from) >= 0) this.#contents = 'shared';
    else if (hardLinks) this.#linkTo(from);
  }

  write(bytes: Buffer, position: number): void {
    if (this.#file < 0 || this.#contents === 'shared') return; // A whiteout that came with contents has no file.
    this.#contents = 'written';
    for (let done = 0; done < bytes.length;) done += writeSync(this.#file, bytes, done, bytes.length - done, position + done);
  }

  end(): void {
    const entry = this.#entry;
    if (this.#file < 0 || entry === undefined) return;
    if (entry.sparse) ftruncateSync(this.#file, entry.size); // The last hole.
    this.#describe.file(this.#file, entry, this.#owner);
    this.#closeFile();
  }

  /** Directories' times come last, for what is made in them changes them [§4.1 step 11]. */
  finish(): void {
    for (const { path, accessed, modified } of this.#directoryTimes) {
      if (this.#foreign.size > 0 && this.#directories.get(path) === E.NOTDIR) throw foreignChange(path);
      orThrow(this.#directories.setTimes(path, accessed, modified), 'utimes', toText(path));
    }
  }

  [Symbol.dispose](): void {
    this.#closeFile();
    this.#directories[Symbol.dispose]();
  }

  #closeFile(): void {
    if (this.#file >= 0) closeFd(this.#file);
    this.#file = -1;
    this.#entry = undefined;
    this.#contents = 'none';
  }

  /** In place of the file begun last. */
  #linkTo(from: number): void {
    const [entry, name, owner] = [this.#entry, this.#name, this.#owner];
    if (entry === undefined || name === undefined || !this.#describe.isDescribed(from, entry, owner)) return;
    const [parent, base] = [this.#parent(name), toPath(name.base)];
    this.#closeFile();
    orThrow(unlinkAt(parent, base), 'unlink', base);
    if (linkFd(from, parent, base) < 0) return this.#regular(entry, name, owner); // It has too many names, for instance.
    this.#foreign.add(statOrThrow(from).inode);
  }

  #make(entry: TarEntry, name: CleanName): void {
    const owner = { uid: this.#ids.uid(entry.uid), gid: this.#ids.gid(entry.gid) };
    const parent = this.#directories.getOrMake(name.parent);
    if (isWhiteout(name.base)) {
      if (parent !== E.NOTDIR) this.#whiteout(orThrow(parent, 'open', toText(name.parent)), entry, name, owner);
      return; // In a directory that is itself whited out there is nothing to hide.
    }
    orThrow(parent, 'open', toText(name.parent));
    if (entry.type === TYPE.DIRECTORY) return this.#directory(entry, name, owner);
    if (name.base === '') throw new Failure('InvalidArgument', 'the root of a layer is no directory', { code: 'EISDIR' });
    switch (entry.type) {
      case TYPE.REGULAR:
        return this.#regular(entry, name, owner);
      case TYPE.LINK:
        return this.#hardLink(entry, name, owner);
      case TYPE.SYMLINK:
        this.#create(name, 'symlink', (dir, base) => symlinkAt(toPath(entry.linkName), dir, base));
        return this.#describe.symlink(this.#parent(name), toPath(name.base), entry, owner);
      case TYPE.CHAR:
      case TYPE.BLOCK:
      case TYPE.FIFO:
        return this.#special(entry, name, owner);
      default:
        throw new Failure('InvalidArgument', `unhandled tar header type ${entry.type}`, { code: 'BAD_ARCHIVE' });
    }
  }

  /** The parent's descriptor; it was resolved a moment ago. */
  #parent(name: CleanName): number {
    return orThrow(this.#directories.get(name.parent), 'open', toText(name.parent));
  }

  /** Makes a name by `attempt`, which answers −EEXIST where something stands in the way: that is removed first [§4.1 step 4]. */
  #create(name: CleanName, call: string, attempt: (dir: number, base: Path) => number): number {
    const base = toPath(name.base);
    const result = attempt(this.#parent(name), base);
    if (result !== E.EXIST) return orThrow(result, call, base);
    this.#remove(name);
    return orThrow(attempt(this.#parent(name), base), call, base);
  }

  #remove(name: CleanName): void {
    removeTreeAt(this.#parent(name), toPath(name.base));
    this.#directories.forget();
  }

  #whiteout(dir: number, entry: TarEntry, name: CleanName, owner: Ids): void {
    if (name.base === OPAQUE) {
      const attribute = `${overlayPrefix(this.#inUserNamespace)}opaque`;
      orThrow(setXattrFd(dir, attribute, Buffer.from('y')), `setxattr ${attribute}`, toText(name.parent));
      return;
    }
    const hidden = name.base.slice(WHITEOUT.length);
    if (hidden === '' || hidden === '.' || hidden === '..')
      throw new Failure('InvalidArgument', 'a whiteout that hides no name', { code: 'EEXIST' });
    const base = toPath(hidden);
    orThrow(mknodAt(dir, base, S.CHR, 0n), 'mknod', base);
    this.#describe.owner(dir, base, entry, owner);
  }

  #directory(entry: TarEntry, name: CleanName, owner: Ids): void {
    const accessed = entry.accessed === undefined ? EPOCH : validTime(entry.accessed);
    this.#directoryTimes.push({ path: name.path, accessed, modified: validTime(entry.modified) });
    if (name.base === '') return this.#describe.directory(this.#directories.root, entry, owner, false);
    const base = toPath(name.base);
    const made = mkdirAt(this.#parent(name), base, 0o700);
    if (made === E.EXIST && (statOrThrow(this.#parent(name), base).mode & S.MASK) !== S.DIR) {
      this.#remove(name);
      orThrow(mkdirAt(this.#parent(name), base, 0o700), 'mkdir', base);
    } else if (made !== E.EXIST) orThrow(made, 'mkdir', base);
    const fd = orThrow(openAt(this.#parent(name), base, O.RDONLY | O.DIRECTORY | O.NOFOLLOW), 'open', base);
    this.#directories.add(name.path, fd);
    this.#describe.directory(fd, entry, owner, made !== E.EXIST);
  }

  #regular(entry: TarEntry, name: CleanName, owner: Ids): void {
    const flags = O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW;
    this.#file = this.#create(name, 'open', (dir, base) => openAt(dir, base, flags, this.#describe.creationMode(entry)));
    this.#entry = entry;
    this.#name = name;
    this.#owner = owner;
  }

  /** The target is a path of the archive, never a symbolic link's target. */
  #hardLink(entry: TarEntry, name: CleanName, owner: Ids): void {
    const target = cleanName(entry.linkName);
    if (target.base === '') throw new Failure('PermissionDenied', 'a hard link to a directory', { code: 'EPERM' });
    this.#create(name, `link to ${toText(entry.linkName)}:`, (dir, base) => {
      const targetDir = this.#directories.get(target.parent);
      return targetDir < 0 ? targetDir : linkAt(targetDir, toPath(target.base), dir, base);
    });
    const [parent, base] = [this.#parent(name), toPath(name.base)];
    if (this.#foreign.size > 0 && this.#foreign.has(statOrThrow(parent, base).inode)) {
      using file = new OwnedFd(orThrow(openAt(parent, base, O.RDONLY | O.NOFOLLOW), 'open', base));
      if (!this.#describe.isDescribed(file.fd, entry, owner)) throw foreignChange(entry.name);
    } else this.#describe.hardLink(parent, base, entry, owner);
  }

  #special(entry: TarEntry, name: CleanName, owner: Ids): void {
    if (this.#inUserNamespace && entry.type !== TYPE.FIFO) return; // Only the host's root may make devices.
    const type = entry.type === TYPE.CHAR ? S.CHR : entry.type === TYPE.BLOCK ? S.BLK : S.FIFO;
    const device = entry.type === TYPE.FIFO ? 0n : makeDevice(entry.major, entry.minor);
    if (device === undefined) throw new Failure('InvalidArgument', `no device can be ${entry.major}:${entry.minor}`, { code: 'EINVAL' });
    this.#create(name, 'mknod', (dir, base) => mknodAt(dir, base, type | 0o600, device));
    this.#describe.special(this.#parent(name), toPath(name.base), entry, owner);
  }
}

/** Such a layer is unpacked without hard links to other layers. */
function foreignChange(path: string): Failure {
  return new Failure('InvalidArgument', `${toText(path)} would change a file that another layer has too`, { code: 'UNSUITABLE' });
}
