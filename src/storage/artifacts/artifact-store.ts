import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure, codeOf, textOf } from '../../errors/index.ts';
import { stringifyExactJson, writeFileAtomic } from '../../files/index.ts';
import { type Digest, algorithmOf, hexOf, newHexId } from '../../ids/index.ts';
import type { BlockingCalls } from '../../linux/index.ts';
import type { Logger } from '../../log/index.ts';
import { LockFile } from '../locks/lock-file.ts';
import { type LayoutEntry, NAME_ANNOTATION, blobPath, readIndex } from './layout.ts';

/** An artifact of a store. */
export interface StoredArtifact {
  /** As it was pulled: `host/repository:tag`; '' where it has none. */
  readonly name: string;
  readonly digest: Digest;
  readonly manifest: Buffer;
  /** The layout that it lies in. */
  readonly root: string;
  /** Of an additional store, which is nobody's here to change. */
  readonly isReadOnly: boolean;
}

export interface NewArtifact {
  readonly name: string;
  readonly digest: Digest;
  readonly mediaType: string;
  readonly manifest: Buffer;
  /** All that the manifest names; must have been put before. */
  readonly blobs: readonly Digest[];
}

export interface ArtifactStoreOptions {
  readonly root: string;
  /** Read-only roots, asked first; each holds a directory `artifacts` [I55]. */
  readonly additional: readonly string[];
  readonly calls: BlockingCalls;
  readonly log: Logger;
}

const TEMPORARY = 'oci-put-blob-crio-';
const INDEX = 'index.json';

/** OCI artifacts: an OCI image layout beside the images, shared with podman by a lock file [I54]. */
export class ArtifactStore {
  readonly #options: ArtifactStoreOptions;
  #lock: LockFile | undefined;
  /** Blobs of artifacts that are being brought together, and of how many. */
  readonly #gathered = new Map<string, number>();

  constructor(options: ArtifactStoreOptions) {
    this.#options = options;
  }

  /** All artifacts, those of additional stores first; of two with one name the first counts [I55]. */
  async list(): Promise<readonly StoredArtifact[]> {
    const found: StoredArtifact[] = [];
    for (const root of this.#options.additional) {
      const layout = join(root, 'artifacts');
      try {
        if (!existsSync(layout)) throw new Error(`${layout} does not exist`);
        found.push(...(await this.#read(layout, true)));
      } catch (error) {
        this.#options.log.warn(`Skipping additional artifact store ${JSON.stringify(root)}: ${textOf(error)}`);
      }
    }
    found.push(...(await this.listOwn()));
    const names = new Set<string>();
    return found.filter(({ name }) => name === '' || names.size !== names.add(name).size);
  }

  /** Those that can be removed, whatever additional stores have under their names. */
  async listOwn(): Promise<readonly StoredArtifact[]> {
    return await this.#own('shared', () => this.#read(this.#options.root, false));
  }

  /** While `work` puts these blobs and adds their artifact nobody here removes one; if it fails, those that no artifact needs go. */
  async gathering<T>(blobs: readonly Digest[], work: () => Promise<T>): Promise<T> {
    for (const blob of blobs) this.#gathered.set(blob, (this.#gathered.get(blob) ?? 0) + 1);
    let isDone = false;
    try {
      const result = await work();
      isDone = true;
      return result;
    } finally {
      for (const blob of blobs) {
        const others = (this.#gathered.get(blob) ?? 1) - 1;
        if (others === 0) this.#gathered.delete(blob);
        else this.#gathered.set(blob, others);
      }
      if (!isDone) await this.#forget(blobs);
    }
  }

  /** Stores a blob if it is not there, its digest verified. Nothing of it is left behind when it fails. */
  async putBlob(digest: Digest, size: number, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    await this.#make();
    const path = blobPath(this.#options.root, digest);
    if (existsSync(path)) return;
    const temporary = join(this.#options.root, `${TEMPORARY}${newHexId()}`);
    const hash = createHash(algorithmOf(digest));
    let written = 0;
    try {
      await using file = await open(temporary, 'wx', 0o644);
      for await (const piece of bytes) {
        hash.update(piece);
        written += piece.length;
        await file.writeFile(piece);
      }
      if (written !== size || hash.digest('hex') !== hexOf(digest))
        throw new Failure('Unknown', `blob digest mismatch: ${digest} is not what came`, { code: 'DIGEST_INVALID' });
      await file.datasync();
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  hasBlob(digest: Digest): boolean {
    return existsSync(blobPath(this.#options.root, digest));
  }

  /** Makes an artifact visible under its name, which another one loses. */
  async add(artifact: NewArtifact): Promise<void> {
    await this.#make();
    const { root } = this.#options;
    await this.#own('exclusive', async () => {
      const missing = artifact.blobs.find((digest) => !existsSync(blobPath(root, digest)));
      if (missing !== undefined)
        throw new Failure('Unavailable', `blob ${missing} of artifact ${artifact.name} was removed while it was pulled`, {
          advice: 'Try again.',
        });
      await this.putBlob(artifact.digest, artifact.manifest.length, once(artifact.manifest));
      const { document, entries, others } = await readIndex(root);
      const added = {
        mediaType: artifact.mediaType,
        digest: artifact.digest as string,
        size: artifact.manifest.length,
        annotations: { [NAME_ANNOTATION]: artifact.name },
      };
      const kept = entries.filter(({ name }) => name !== artifact.name);
      await this.#write({ ...document, manifests: [...others, ...kept.map(({ json }) => json), added] });
      await this.#removeUnused(
        entries.filter((entry) => !kept.includes(entry)),
        kept,
        artifact.digest,
      );
    });
  }

  /** Removes an entry and the blobs that no other needs; false where there is none. Those of additional stores stay. */
  async remove({ name, digest }: Pick<StoredArtifact, 'name' | 'digest'>): Promise<boolean> {
    const { root } = this.#options;
    return await this.#own('exclusive', async () => {
      const { document, entries, others } = await readIndex(root);
      const gone = entries.filter((entry) => entry.digest === digest && entry.name === name);
      if (gone.length === 0) return false;
      const kept = entries.filter((entry) => !gone.includes(entry));
      await this.#write({ ...document, manifests: [...others, ...kept.map(({ json }) => json)] });
      await this.#removeUnused(gone, kept, undefined);
      return true;
    });
  }

  /** Removes blobs that were being written when a daemon ended; for the start of the only one. */
  async collectGarbage(): Promise<void> {
    for (const name of await namesIn(this.#options.root))
      if (name.startsWith(TEMPORARY) || name.startsWith(`.tmp-${INDEX}`)) await rm(join(this.#options.root, name), { force: true });
  }

  close(): void {
    this.#lock?.close();
    this.#lock = undefined;
  }

  async #read(root: string, isReadOnly: boolean): Promise<StoredArtifact[]> {
    const { entries } = await readIndex(root);
    const read = async ({ name, digest }: LayoutEntry): Promise<StoredArtifact | undefined> => {
      try {
        return { name, digest, manifest: await readFile(blobPath(root, digest)), root, isReadOnly };
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error;
        this.#options.log.warn(`Artifact ${name || digest} in ${root} has lost its manifest`);
        return undefined;
      }
    };
    return (await Promise.all(entries.map(read))).filter((artifact) => artifact !== undefined);
  }

  /** Blobs of entries that went, unless another manifest names them too. */
  async #removeUnused(gone: readonly LayoutEntry[], kept: readonly LayoutEntry[], added: Digest | undefined): Promise<void> {
    const blobs = await Promise.all(gone.map(({ digest }) => this.#digestsOf(digest)));
    const needing = [...kept.map(({ digest }) => digest), ...(added === undefined ? [] : [added])];
    await this.#removeUnneeded(blobs.flat(), needing);
  }

  /** Blobs that were put for an artifact that did not come about. */
  async #forget(blobs: readonly Digest[]): Promise<void> {
    try {
      await this.#own('exclusive', async () => {
        const { entries } = await readIndex(this.#options.root);
        await this.#removeUnneeded(
          blobs,
          entries.map(({ digest }) => digest),
        );
      });
    } catch (error) {
      this.#options.log.warn(`Blobs of an artifact that was not pulled stay: ${textOf(error)}`);
    }
  }

  async #removeUnneeded(blobs: readonly string[], needing: readonly Digest[]): Promise<void> {
    const needed = new Set((await Promise.all(needing.map((digest) => this.#digestsOf(digest)))).flat());
    for (const blob of blobs)
      if (!needed.has(blob) && !this.#gathered.has(blob)) await rm(blobPath(this.#options.root, blob as Digest), { force: true });
  }

  /** A manifest's, and those that it names. */
  async #digestsOf(manifest: Digest): Promise<readonly string[]> {
    const text = await readFile(blobPath(this.#options.root, manifest), 'utf8').catch(() => '');
    return [manifest, ...(text.match(/\bsha(?:256|384|512):[0-9a-f]{64,128}\b/g) ?? [])];
  }

  async #write(document: object): Promise<void> {
    await writeFileAtomic(join(this.#options.root, INDEX), stringifyExactJson(document), { mode: 0o644 });
  }

  async #make(): Promise<void> {
    const { root } = this.#options;
    await mkdir(join(root, 'blobs', 'sha256'), { recursive: true, mode: 0o700 });
    const marker = join(root, 'oci-layout');
    if (!existsSync(marker)) await writeFile(marker, '{"imageLayoutVersion":"1.0.0"}', { mode: 0o644 });
  }

  /** Under the lock, if there is a store at all: looking makes none. */
  async #own<T>(mode: 'shared' | 'exclusive', work: () => Promise<T>): Promise<T> {
    if (!existsSync(this.#options.root)) return await work();
    this.#lock ??= new LockFile(join(this.#options.root, 'index.lock'), this.#options.calls);
    using _ = await this.#lock.acquire(mode);
    return await work();
  }
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
