import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { textOf } from '../errors/index.ts';
import type { BlockingCalls } from '../linux/index.ts';
import type { Logger } from '../log/index.ts';
import { LockFile } from './locks/lock-file.ts';
import { LockSet } from './locks/lock-set.ts';
import { ReadLock } from './locks/read-lock.ts';
import { ContainerSet } from './records/containers.ts';
import { Domain, type DomainFile, type Medium, type PreparedFile, RecordFile, type RootedFile } from './records/domain.ts';
import { containerFormat, imageFormat, layerFormat, mountFormat, type MountRecord } from './records/formats.ts';
import { ImageSet } from './records/images.ts';
import { LayerSet } from './records/layers.ts';
import type { RecordList } from './records/list.ts';
import type { SetAside } from './records/set-aside.ts';
import { type Reserve, withReserve } from './reserve.ts';
import type { Roots } from './places.ts';
import type { ImageRecord, LayerRecord } from './types.ts';

const TMPFS_MAGIC = 0x01021994;

/** All records of a store, as a change sees them: current, and nobody else writes. */
export interface Records {
  readonly layers: LayerSet;
  readonly images: ImageSet;
  readonly containers: ContainerSet;
  readonly mounts: RecordList<MountRecord>;
}

/** What a change did besides changing records. */
export interface Change<T> {
  readonly result: T;
  /** Runs when the records are saved, the locks still held: what would be debris, not damage, if the process died before it. */
  readonly afterwards?: () => void;
  /** Takes back what was done on disk, if the records cannot be saved. */
  readonly undo?: () => void;
}

/** Makers are saved layers first, removers layers last: at no moment does a saved record point to one that is not. */
export type ChangeKind = 'make' | 'remove';

interface Pending {
  readonly kind: ChangeKind;
  /** Applies the change; answers how it ends. */
  apply(records: Records): Applied;
  fail(error: unknown): void;
}

interface Applied {
  readonly undo: () => void;
  readonly afterwards: () => void;
  readonly settle: () => void;
}

export interface LedgerHooks {
  /** Under the locks, before changes: storage.lock's record changed, so the driver's home may be unmounted (§2.3). */
  reinitialise(): Promise<void>;
  /** Layers were loaded anew, under a lock of either mode: forget what was read of their directories. */
  layersLoaded(): void;
  /** Under the locks, after a load: finish what others left incomplete. */
  deleteIncomplete(records: Records): void;
}

export interface LedgerParts {
  readonly roots: Roots;
  readonly calls: BlockingCalls;
  /** Of each file system that records are written to. */
  readonly reserves: readonly Reserve[];
  /** For files that tell of containers, which need not survive a boot; undefined: such a file stops everything, too. */
  readonly setAside: SetAside | undefined;
  readonly log: Logger;
  readonly hooks: LedgerHooks;
}

/**
 * The records of a store, its locks in their order (docs/reference/cri-o-ondisk.md §2.2), and changes to them.
 *
 * A change is one synchronous function. Those that are waiting when the locks come are applied one after the other
 * and saved together, so that a busy daemon writes the files once for many changes, and no lock is ever held over
 * somebody's await. A change that throws must have changed nothing.
 */
export class Ledger {
  readonly records: Records;
  readonly #log: Logger;
  readonly #hooks: LedgerHooks;
  readonly #reserves: readonly Reserve[];
  readonly #storageLock: LockFile;
  #storageSeen: Buffer | undefined;
  #layersUnchecked = false;
  /** In the order of their locks, own ones and those of additional image stores. */
  readonly #layers: readonly Domain[];
  readonly #images: readonly Domain[];
  readonly #containers: readonly Domain[];
  readonly #mounts: readonly Domain[];
  readonly #pending: Pending[] = [];
  #draining: Promise<void> | undefined;
  /** Whether what is in memory is current because we hold the locks. */
  #current = false;

  constructor(o: LedgerParts) {
    this.#log = o.log;
    this.#hooks = o.hooks;
    this.#reserves = o.reserves;
    const { graphRoot, runRoot, imageRoot, additional } = o.roots;
    const lock = (...path: string[]) => new LockFile(join(...path), o.calls);
    const at = (name: string) => join(graphRoot, 'overlay-containers', name);
    const containers = new RecordFile(at('containers.json'), containerFormat, 'durable');
    const volatileContainers = new RecordFile(at('volatile-containers.json'), containerFormat, 'volatile', o.setAside);
    const inMemory = statfsSync(runRoot).type === TMPFS_MAGIC;
    const mountpoints = join(runRoot, 'overlay-layers', 'mountpoints.json');
    const mounts = new RecordFile(mountpoints, mountFormat, inMemory ? 'memory' : 'volatile', o.setAside);
    const writable = [...new Set([imageRoot, graphRoot])];

    const durable = layerFile(graphRoot, 'layers.json', 'durable');
    const volatile = layerFile(graphRoot, 'volatile-layers.json', 'volatile', o.setAside);
    const images = writable.map((root) => imageFile(root, 'durable'));
    const foreign = additional.map((root) => ({
      layers: ['layers.json', 'volatile-layers.json'].map((name) => layerFile(root, name, 'foreign')),
      image: imageFile(root, 'foreign'),
      domain: (kind: string, files: readonly DomainFile[]) => foreignDomain(root, kind, files, o),
    }));

    this.#storageLock = lock(graphRoot, 'storage.lock');
    const layersLocks = [graphRoot, ...(imageRoot === graphRoot ? [] : [imageRoot])].map((root) =>
      lock(root, 'overlay-layers', 'layers.lock'),
    );
    const ownLayers = new Domain(
      new LockSet(layersLocks),
      [durable, volatile].map(({ file }) => file),
      {
        watchFiles: true,
        onLoad: () => {
          this.#layersUnchecked = true;
          o.hooks.layersLoaded();
        },
      },
    );
    this.#layers = [
      ownLayers,
      ...foreign.map(({ layers, domain }) =>
        domain(
          'layers',
          layers.map(({ file }) => file),
        ),
      ),
    ];
    const ownImages = images.map(({ root, file }) => new Domain(lock(root, 'overlay-images', 'images.lock'), [file]));
    this.#images = [...ownImages, ...foreign.map(({ image, domain }) => domain('images', [image.file]))];
    this.#containers = [new Domain(lock(at('containers.lock')), [containers, volatileContainers])];
    this.#mounts = [new Domain(lock(runRoot, 'overlay-layers', 'mountpoints.lock'), [mounts])];
    this.records = {
      layers: new LayerSet({ durable, volatile, foreign: foreign.flatMap(({ layers }) => layers) }),
      images: new ImageSet(
        images,
        foreign.map(({ image }) => image),
      ),
      containers: new ContainerSet(containers, volatileContainers),
      mounts: mounts.records,
    };
  }

  /** Counts loads and saves of the images: whoever keeps something made from them knows when it is out of date. */
  get imageGeneration(): number {
    return this.#images.reduce((sum, { generation }) => sum + generation, 0);
  }

  /** Reads under the shared lock of one kind of record; never waits for changes of this process. */
  async read<T>(what: 'layers' | 'images' | 'containers', look: (records: Records) => T): Promise<T> {
    const domains = { layers: this.#layers, images: this.#images, containers: this.#containers }[what];
    if (this.#current) return look(this.records);
    using held = new DisposableStack();
    for (const { lock } of domains) held.use(await lock.acquire('shared'));
    for (const domain of domains) await domain.refresh();
    return look(this.records);
  }

  /** Applies a change under all locks and answers its result once the records are saved. */
  change<T>(kind: ChangeKind, work: (records: Records) => Change<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const apply = (records: Records): Applied => {
      const { result, undo = () => {}, afterwards = () => {} } = work(records);
      return { undo, afterwards, settle: () => resolve(result) };
    };
    this.#pending.push({ kind, apply, fail: reject });
    this.#draining ??= this.#drain();
    return promise;
  }

  /** Waits for the changes under way. */
  async close(): Promise<void> {
    await this.#draining;
    for (const { lock } of this.#domains('make')) lock.close();
    this.#storageLock.close();
  }

  async #drain(): Promise<void> {
    // Whoever asks within the same turn of the event loop goes into the same batch.
    await Promise.resolve();
    while (this.#pending.length > 0) {
      try {
        await this.#underLocks(() => this.#applyBatch());
      } catch (error) {
        for (const pending of this.#pending.splice(0)) pending.fail(error);
      }
    }
    // In the same step that saw nothing pending: a change that comes next starts a new run.
    this.#draining = undefined;
  }

  async #underLocks(work: () => Promise<void>): Promise<void> {
    using held = new DisposableStack();
    held.use(await this.#storageLock.acquire('exclusive'));
    for (const { lock, mode } of this.#domains('make')) held.use(await lock.acquire(mode));
    const stored = this.#storageLock.readRecord();
    if (this.#storageSeen === undefined || !stored.equals(this.#storageSeen)) {
      await this.#hooks.reinitialise();
      this.#storageSeen = stored;
    }
    for (const domain of this.#domains('make')) await domain.refresh();
    if (this.#layersUnchecked) this.#hooks.deleteIncomplete(this.records);
    this.#layersUnchecked = false;
    this.#current = true;
    try {
      await work();
    } finally {
      this.#current = false;
    }
  }

  async #applyBatch(): Promise<void> {
    const kind = this.#pending[0]?.kind ?? 'make';
    const done: { readonly pending: Pending; readonly applied: Applied }[] = [];
    for (let pending = this.#pending[0]; pending?.kind === kind; pending = this.#pending[0]) {
      this.#pending.shift();
      try {
        done.push({ pending, applied: pending.apply(this.records) });
      } catch (error) {
        pending.fail(error);
      }
    }
    try {
      await this.#saveWithReserve(kind);
    } catch (error) {
      for (const { applied } of done.toReversed()) this.#attempt('undo a change that could not be saved', applied.undo);
      for (const domain of this.#domains('make')) if (domain.dirty) domain.forget();
      for (const { pending } of done) pending.fail(error);
      return;
    }
    for (const { applied } of done) this.#attempt('finish a saved change', applied.afterwards);
    for (const { applied } of done) applied.settle();
  }

  /** On a full disk removals get the reserve's space: they are the way out. */
  async #saveWithReserve(kind: ChangeKind): Promise<void> {
    await (kind === 'remove' ? withReserve(this.#reserves, () => this.#save(kind)) : this.#save(kind));
  }

  /** First everything that may run out of space, then the announcements, then the renames. */
  async #save(kind: ChangeKind): Promise<void> {
    const domains = this.#domains(kind).filter((domain) => domain.dirty);
    const files = domains.flatMap((domain) => domain.files.filter((file) => file.dirty));
    const outcomes = await Promise.allSettled(files.map((file) => file.prepare()));
    const prepared: PreparedFile[] = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined) {
      await Promise.all(prepared.map((file) => file.discard()));
      throw failed.reason;
    }
    for (const domain of domains) {
      domain.announce();
      domain.generation++;
    }
    for (const file of prepared) await file.commit();
  }

  #domains(kind: ChangeKind): readonly Domain[] {
    const order = [this.#layers, this.#images, this.#containers, this.#mounts].flat();
    return kind === 'make' ? order : order.toReversed();
  }

  #attempt(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#log.error(`Storage could not ${what}: ${textOf(error)}`);
    }
  }
}

function layerFile(root: string, name: string, medium: Medium, setAside?: SetAside): RootedFile<LayerRecord> {
  return { root, file: new RecordFile(join(root, 'overlay-layers', name), layerFormat, medium, setAside) };
}

function imageFile(root: string, medium: Medium): RootedFile<ImageRecord> {
  return { root, file: new RecordFile(join(root, 'overlay-images', 'images.json'), imageFormat, medium) };
}

/** Records of an additional image store [J37]. Where they cannot be read any more, what was read before counts on. */
function foreignDomain(root: string, kind: string, files: readonly DomainFile[], o: LedgerParts): Domain {
  let told = '';
  const onBroken = (error: unknown) => {
    const text = textOf(error);
    if (text !== told) o.log.warn(`Additional image store ${root} cannot be read, what it held before counts on: ${text}`);
    told = text;
  };
  const lock = new ReadLock(join(root, `overlay-${kind}`, `${kind}.lock`));
  return new Domain(lock, files, { watchFiles: true, onLoad: () => o.hooks.layersLoaded(), onBroken });
}
