import { readFileSync } from 'node:fs';
import { badArchive, overLimit } from './failures.ts';
import { HostIds } from './idmap.ts';
import { cleanName, toText } from './names.ts';
import type { TarEntry, TarVisitor } from './tar-reader.ts';
import { TarSplitWriter } from './tar-split.ts';
import { TYPE } from './tar-header.ts';
import { TreeWriter, isWhiteout } from './tree-writer.ts';
import type { UnpackJob } from './types.ts';
import type { ContentsSharer } from './chunked/index.ts';

const DEFAULT_MAX_ENTRIES = 2_000_000;

/** Where a layer's members go: into the tree, the tar-split and the counts of the record. */
export class LayerSink implements TarVisitor, ContentsSharer, Disposable {
  readonly #tree: TreeWriter;
  readonly #split: TarSplitWriter;
  readonly #maxEntries: number;
  readonly #maxContent: number;
  readonly #names = new Set<string>();
  readonly #uids = new Set<number>();
  readonly #gids = new Set<number>();
  #content = 0;
  #entry: TarEntry | undefined;

  constructor(job: UnpackJob, warn: (message: string) => void) {
    this.#maxEntries = job.limits.maxEntries ?? DEFAULT_MAX_ENTRIES;
    this.#maxContent = job.limits.maxContentBytes ?? Number.POSITIVE_INFINITY;
    const ids = new HostIds(job.idMap);
    this.#tree = new TreeWriter({ root: job.diffDir, ids, inUserNamespace: inUserNamespace(), warn });
    try {
      this.#split = new TarSplitWriter(job.tarSplitPath);
    } catch (error) {
      this.#tree[Symbol.dispose]();
      throw error;
    }
  }

  get uids(): number[] {
    return [...this.#uids].toSorted((a, b) => a - b);
  }

  get gids(): number[] {
    return [...this.#gids].toSorted((a, b) => a - b);
  }

  raw(bytes: Buffer): void {
    this.#split.raw(bytes);
  }

  begin(entry: TarEntry): void {
    const name = cleanName(entry.name);
    // tar-split refuses these, so no layer that containers/storage holds has any [cri-o-ondisk §4.3].
    if (this.#names.size === this.#names.add(name.key).size)
      throw badArchive(`duplicates of file paths not supported: ${toText(entry.name)}`);
    if (this.#names.size > this.#maxEntries) throw overLimit(`the layer has more than ${this.#maxEntries} entries`);
    if ((this.#content += entry.size) > this.#maxContent) throw overLimit(`the layer's files are larger than ${this.#maxContent} bytes`);
    if (!isWhiteout(name.base) && entry.type !== TYPE.PAX_GLOBAL) {
      this.#uids.add(entry.uid);
      this.#gids.add(entry.gid);
    }
    this.#entry = entry;
    this.#split.begin();
    this.#tree.begin(entry, name);
  }

  /** The file begun last has the contents of this open file of another layer; they come through `data` nevertheless. */
  share(fd: number, size: number, mayLink: boolean): void {
    this.#tree.share(fd, size, mayLink);
  }

  data(bytes: Buffer, position: number): void {
    // A sparse member's pieces are in the tar-split as raw bytes: so the archive can be rebuilt in spite of its holes.
    if (this.#entry?.sparse !== true) this.#split.contents(bytes);
    this.#tree.write(bytes, position);
  }

  end(): void {
    const entry = this.#entry;
    if (entry !== undefined) this.#split.end(entry.name, entry.sparse ? 0 : entry.size);
    this.#tree.end();
  }

  /** Waits until the tar-split's compressor keeps up. */
  async settled(): Promise<void> {
    await this.#split.settled();
  }

  async finish(): Promise<void> {
    this.#tree.finish();
    await this.#split.finish();
  }

  [Symbol.dispose](): void {
    this.#split[Symbol.dispose]();
    this.#tree[Symbol.dispose]();
  }
}

/** The initial user namespace maps all ids to themselves, user_namespaces(7). */
function inUserNamespace(): boolean {
  return readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/).join(' ') !== '0 0 4294967295';
}
