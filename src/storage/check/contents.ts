import { type Path, O, S, openRoot, readLinkAt, statOrThrow, tryOpenInRoot } from '../../linux/index.ts';
import { type CleanName, TYPE, type TarEntry, TarReader, cleanName, toPath, toText } from '../archive/index.ts';

/** Problems of one layer that are told; the rest is only counted. */
const MAX_TOLD = 20;

/**
 * Compares the entries of an archive, as it is put together again, with the tree that was unpacked from it: kind, mode, owner,
 * a link's target. What the files hold the archive's digest tells.
 */
export class ContentsCheck implements Disposable {
  readonly #reader: TarReader;
  readonly #root: ReturnType<typeof openRoot>;
  readonly #problems: string[] = [];
  #count = 0;

  constructor(tree: string) {
    this.#root = openRoot(tree);
    this.#reader = new TarReader({ raw: () => {}, begin: (entry) => this.#compare(entry), data: () => {}, end: () => {} });
  }

  push(bytes: Buffer): void {
    this.#reader.push(bytes);
  }

  problems(): readonly string[] {
    const rest = this.#count - this.#problems.length;
    return rest === 0 ? this.#problems : [...this.#problems, `and ${rest} more differences`];
  }

  [Symbol.dispose](): void {
    this.#root[Symbol.dispose]();
  }

  #compare(entry: TarEntry): void {
    const name = cleanName(entry.name);
    if (name.key === '.' || entry.type === TYPE.PAX_GLOBAL || name.base.startsWith('.wh.')) return;
    const found = this.#difference(entry, name);
    if (found === undefined) return;
    this.#count++;
    if (this.#problems.length < MAX_TOLD) this.#problems.push(`layer content modified: ${JSON.stringify(toText(name.path))}: ${found}`);
  }

  #difference(entry: TarEntry, name: CleanName): string | undefined {
    const path: Path = name.base === '' ? '/' : toPath(name.path);
    using there = tryOpenInRoot(this.#root.fd, path, O.PATH | O.NOFOLLOW);
    if (there === undefined) return 'it is missing';
    const stat = statOrThrow(there.fd);
    if (entry.type === TYPE.LINK) return undefined;
    const kind = KINDS.get(entry.type);
    if (kind !== undefined && (stat.mode & S.MASK) !== kind) return 'it is of another kind';
    if (stat.uid !== entry.uid || stat.gid !== entry.gid) return `it belongs to ${stat.uid}:${stat.gid}, not ${entry.uid}:${entry.gid}`;
    if (entry.type === TYPE.SYMLINK) return targetOf(there.fd) === entry.linkName ? undefined : 'the link leads elsewhere';
    const [own, wanted] = [stat.mode & 0o7777, entry.mode & 0o7777];
    return own === wanted ? undefined : `its mode is ${own.toString(8)}, not ${wanted.toString(8)}`;
  }
}

function targetOf(link: number): string | undefined {
  const target = readLinkAt(link, '');
  return typeof target === 'number' ? undefined : target.toString('latin1');
}

const KINDS: ReadonlyMap<number, number> = new Map([
  [TYPE.REGULAR, S.REG],
  [TYPE.DIRECTORY, S.DIR],
  [TYPE.SYMLINK, S.LNK],
  [TYPE.CHAR, S.CHR],
  [TYPE.BLOCK, S.BLK],
  [TYPE.FIFO, S.FIFO],
]);
