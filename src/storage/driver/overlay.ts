import { existsSync, mkdirSync, renameSync, rmSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, realpath, rename, rm, statfs, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import type { HexId } from '../../ids/index.ts';
import { MS, type ProjectLimits, mount, readMounts, unmountIfMounted } from '../../linux/index.ts';
import { dataString, lowerOf, MAX_DEPTH, planMount } from '../mount-plan.ts';
import { isLinkName, newLinkName } from '../names.ts';
import { damageOf } from './damage.ts';
import { Homes, type HomesOptions, readOptional } from './homes.ts';
import { type IdMapRequest, giveToRoot, mapLowers } from './id-map.ts';
import { performMount } from './perform.ts';
import { Probes } from './probes.ts';
import { Quotas } from './quotas.ts';

export interface DriverOptions extends HomesOptions {
  /** `R/overlay`. */
  readonly runHome: string;
  /** Words of `mountopt`. */
  readonly mountOptions: readonly string[];
  /** Leave the driver home unmounted (`skip_mount_home`). */
  readonly skipMountHome: boolean;
  /** `size` and `inodes`: of each container's layer [J36]. */
  readonly limits: ProjectLimits;
}

/** A layer's directory that was built but not published, and what it was built upon. */
export interface Built {
  readonly home: string;
  readonly parent: HexId | undefined;
  readonly link: string;
  readonly lower: string | undefined;
}

export interface LayerMount {
  readonly options: readonly string[];
  readonly volatile: boolean;
  readonly label: string;
  /** Shifts the lower layers' ids at the mount (§3.4). */
  readonly idMap?: IdMapRequest | undefined;
}

const OVERLAY_MAGIC = 0x794c7630;
const UNSUPPORTED_BACKING: ReadonlyMap<number, string> = new Map([
  [OVERLAY_MAGIC, 'overlayfs'],
  [0x61756673, 'aufs'],
  [0xf15f, 'ecryptfs'],
]);

/**
 * The overlay driver's directories and mounts (docs/reference/cri-o-ondisk.md §1.1, §1.7, §3). Knows no records;
 * whoever calls a synchronous method holds layers.lock exclusively.
 */
export class OverlayDriver {
  readonly home: string;
  /** Where image layers are made. */
  readonly imageHome: string;
  readonly homes: Homes;
  readonly #options: DriverOptions;
  readonly #probes: Probes;
  #volatile = false;
  #metacopy = false;
  #idMaps = false;
  #quotas: Quotas | undefined;

  constructor(options: DriverOptions) {
    this.home = options.home;
    this.imageHome = options.imageHome;
    this.homes = new Homes(options);
    this.#options = options;
    this.#probes = new Probes(options.home, options.runHome, options.log);
  }

  /**
   * Makes the home and its private self-bind and finds out what the kernel can do [J30–J32]. Repeated after
   * somebody else shut the store down. The caller holds storage.lock.
   */
  async initialise(): Promise<void> {
    const { home, runHome, mountOptions, log } = this.#options;
    const fresh = !existsSync(home);
    for (const own of this.homes.own) {
      await mkdir(own, { recursive: true, mode: 0o700 });
      await mkdir(join(own, 'l'), { recursive: true, mode: 0o755 });
    }
    await mkdir(runHome, { recursive: true, mode: 0o700 });
    const marker = join(home, '.has-mount-program');
    // Where the file is missing Go's tools walk the whole home, and call any `.wh.` name a sign of fuse-overlayfs.
    if (fresh || !existsSync(marker)) await writeFile(marker, 'false', { mode: 0o600 });
    else if ((await readFile(marker, 'utf8')) === 'true')
      log.warn(`${marker} says that a mount program made these layers; crio mounts them natively`);
    await this.#checkBacking();
    this.#quotas = await Quotas.open(home, this.#options.limits);
    await this.#bindHome();
    if (!(await this.#probes.overlay()))
      throw new Failure('FailedPrecondition', `kernel does not support overlay fs below ${home}`, {
        advice: `Load the overlay module, or move the storage root to a file system that can be an overlay's upper.`,
      });
    this.#volatile = await this.#probes.volatile();
    this.#metacopy = mountOptions.includes('metacopy=on') && (await this.#probes.metacopy(mountOptions));
    if (mountOptions.includes('metacopy=on') && !this.#metacopy)
      log.warn('Ignoring global metacopy option, not supported with booted kernel');
    this.#idMaps = await this.#probes.idMappedLowers();
  }

  /** Whether layers can be mounted with mapped ids, as the containers of a user namespace need them. */
  get mapsIds(): boolean {
    return this.#idMaps;
  }

  /** The mount point of a layer: below the run root where the layer is not in `home` [J37]. */
  merged(layer: HexId): string {
    const place = this.homes.homeOf(layer) === this.home ? this.home : this.#options.runHome;
    return join(place, layer, 'merged');
  }

  /**
   * Builds the directory of the layer `layer` of `home` at `at`, which does not exist, and its link in `l/`, which leads nowhere
   * until `publish`. `contents`, a directory of the same mount, becomes its `diff`. Mode and owner of `diff` are the parent's, else 0555 and root [J23].
   * No lock is needed; `checkBelow` later says whether the parent is still the one that this was built upon.
   */
  async build(
    at: string,
    layer: HexId,
    parent: HexId | undefined,
    o: { readonly home: string; readonly contents?: string },
  ): Promise<Built> {
    const { home, contents } = o;
    const below = parent === undefined ? undefined : this.homes.rung(parent);
    const lower = below === undefined ? undefined : lowerOf(below);
    if (lower !== undefined && lower.split(':').length > MAX_DEPTH) throw new Failure('FailedPrecondition', 'max depth exceeded');
    await mkdir(at, { mode: 0o700 });
    // A layer without contents is a container's.
    if (contents === undefined) this.#quotas?.assign(at);
    const diff = join(at, 'diff');
    const mode = below?.mode ?? 0o555;
    const contentsInPlace = async () => {
      await (contents === undefined ? mkdir(diff, { mode: mode & 0o755 }) : rename(contents, diff));
      if (below !== undefined && (below.uid !== 0 || below.gid !== 0)) await chown(diff, below.uid, below.gid);
      if (contents !== undefined || mode !== (mode & 0o755)) await chmod(diff, mode);
    };
    const link = newLinkName();
    await Promise.all([
      contentsInPlace(),
      symlink(`../${layer}/diff`, join(home, 'l', link)),
      mkdir(join(at, 'work'), { mode: 0o700 }),
      mkdir(join(at, 'merged'), { mode: 0o700 }),
      writeFile(join(at, 'link'), link, { mode: 0o644 }),
      lower === undefined ? mkdir(join(at, 'empty'), { mode: 0o700 }) : writeFile(join(at, 'lower'), lower, { mode: 0o644 }),
    ]);
    return { home, parent, link, lower };
  }

  /** Fails with Unavailable if another tool has replaced the parent since `build`. */
  checkBelow(parent: HexId | undefined, built: Built): void {
    const lower = parent === undefined ? undefined : lowerOf(this.homes.rung(parent));
    if (parent !== built.parent || lower !== built.lower)
      throw new Failure('Unavailable', `layer ${parent} was replaced while a layer upon it was being created`, { advice: 'Try again.' });
  }

  /** Moves a directory from `build` to its place and answers that; a stale directory of that id goes to `grave` first. */
  publish(at: string, layer: HexId, { home }: Built, grave: () => string): string {
    const directory = join(home, layer);
    this.homes.forget(layer);
    if (existsSync(directory)) this.bury(layer, home, grave);
    renameSync(at, directory);
    return directory;
  }

  /** Puts a layer of an own home upon the directory that its parent has now; false where it stands there already. */
  standUpon(layer: HexId, parent: HexId): boolean {
    const file = join(this.homes.directory(layer), 'lower');
    const lower = lowerOf(this.homes.rung(parent));
    if (readOptional(file) === lower) return false;
    writeFileSync(`${file}.new`, lower, { mode: 0o644 });
    renameSync(`${file}.new`, file);
    this.homes.forget(layer);
    return true;
  }

  /** Takes the link of a layer back that was built and not published. */
  async unlink({ home, link }: Pick<Built, 'home' | 'link'>): Promise<void> {
    await rm(join(home, 'l', link), { force: true });
  }

  /** Removes the directory and link of a container's layer that has no record any more, and whose random id nobody will use again. */
  async remove(layer: HexId): Promise<void> {
    const directory = join(this.home, layer);
    this.homes.forget(layer);
    const link = await readFile(join(directory, 'link'), 'utf8').catch(() => '');
    if (isLinkName(link)) await this.unlink({ home: this.home, link });
    await rm(directory, { recursive: true, force: true });
  }

  /** Moves a layer's directory and link in an own home away to be deleted: its name is free at once. Missing ones are fine. */
  bury(layer: HexId, home: string, grave: () => string): void {
    this.homes.forget(layer);
    const directory = join(home, layer);
    unmountIfMounted(join(directory, 'merged'));
    const link = readOptional(join(directory, 'link'));
    if (link !== undefined && isLinkName(link)) rmSync(join(home, 'l', link), { force: true });
    try {
      renameSync(directory, grave());
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }

  /** Why a layer could not be mounted, or would show another root than its record says; undefined where nothing speaks against it. */
  damage({ id, parent }: { readonly id: HexId; readonly parent: HexId | undefined }): string | undefined {
    return damageOf(this.homes.directory(id), parent === undefined ? undefined : this.homes.directory(parent));
  }

  /** The layers that are mounted, and those below them: what the disk says, whatever the records do. */
  carrying(): ReadonlySet<HexId> {
    const mounted = this.homes.layersOnDisk().filter((layer) => this.isMounted(layer));
    return new Set(mounted.flatMap((layer) => [layer, ...this.homes.layersBelow(layer)]));
  }

  isMounted(layer: HexId): boolean {
    const path = this.merged(layer);
    const directory = statSync(dirname(path), { throwIfNoEntry: false });
    const merged = statSync(path, { throwIfNoEntry: false });
    return directory !== undefined && merged !== undefined && merged.dev !== directory.dev;
  }

  /** Mounts a layer on its `merged` and answers that path; a mount that is there is left alone. What is not in `home` is mounted read-only. */
  mount(layer: HexId, request: LayerMount): string {
    const directory = this.homes.directory(layer);
    const target = this.merged(layer);
    if (this.isMounted(layer)) return target;
    mkdirSync(target, { recursive: true, mode: 0o700 });
    const lowers = this.homes.lowerPaths(layer);
    const isOwn = dirname(directory) === this.home;
    // The kernel's mark of an unclean volatile mount; with it in place the next one would be refused [J26].
    if (isOwn) rmSync(join(directory, 'work', 'work', 'incompat', 'volatile'), { recursive: true, force: true });
    const mapped = request.idMap === undefined ? undefined : this.#mapped(directory, lowers, request.idMap);
    const plan = planMount({
      layerDirectory: directory,
      target,
      lowers: mapped?.lowers ?? lowers,
      defaultOptions: this.#options.mountOptions,
      options: isOwn ? request.options : [...request.options, 'ro'],
      volatile: request.volatile && this.#volatile,
      metacopySupported: this.#metacopy,
      label: request.label,
    });
    try {
      performMount(plan);
    } catch (error) {
      if (!isOwn) removeMountPoint(target);
      throw wrap(`creating overlay mount to ${target}, mount_data="${plan.data ?? plan.lowers.join(':')}"`, error);
    } finally {
      // The overlay holds the mapped copies itself by now.
      mapped?.detach();
    }
    return target;
  }

  /** Shows a layer with all below it, read-only and with mapped ids, at `target`, a directory that whoever has it unmounts. */
  mountMapped(layer: HexId, target: string, userNamespace: string): void {
    const directory = this.homes.directory(layer);
    const below = this.homes.lowerPaths(layer);
    const paths = [
      join(dirname(directory), 'l', this.homes.rung(layer).link),
      ...(below.length === 0 ? [join(directory, 'empty')] : below),
    ];
    const { lowers, detach } = mapLowers({
      homes: this.homes.all,
      directory,
      lowers: paths,
      map: { userNamespace },
      place: `${target}.mapped`,
    });
    const plan = { target, flags: MS.RDONLY | MS.NODEV, lowers, upper: undefined, parameters: [] };
    try {
      performMount({ ...plan, data: dataString(plan) });
    } finally {
      detach();
    }
  }

  #mapped(directory: string, lowers: readonly string[], map: IdMapRequest) {
    const mapped = mapLowers({ homes: this.homes.all, directory, lowers, map, place: join(directory, 'mapped') });
    giveToRoot(directory, map);
    return mapped;
  }

  /** Detaches the mount and puts an empty directory in the place of `merged`, which a copy of the mount elsewhere cannot pin. */
  unmount(layer: HexId): void {
    const target = this.merged(layer);
    unmountIfMounted(target);
    if (target !== join(this.home, layer, 'merged')) return removeMountPoint(target);
    const fresh = `${target}.1`;
    try {
      rmSync(fresh, { recursive: true, force: true });
      mkdirSync(fresh, { mode: 0o700 });
      renameSync(fresh, target);
    } catch (error) {
      this.#options.log.debug(`Could not replace ${target} after unmounting: ${codeOf(error) ?? 'unknown error'}`);
      rmSync(fresh, { recursive: true, force: true });
    }
  }

  async #checkBacking(): Promise<void> {
    const name = UNSUPPORTED_BACKING.get((await statfs(this.home)).type);
    if (name === undefined) return;
    throw new Failure(
      'FailedPrecondition',
      `'overlay' is not supported over ${name}, a mount_program is required: backing file system is unsupported for this graph driver`,
      { advice: 'Put the storage root on ext4, xfs or btrfs.' },
    );
  }

  /** First the self-bind, then mounts below it: another tool's later bind would hide them (§3.1). */
  async #bindHome(): Promise<void> {
    if (this.#options.skipMountHome) return;
    const home = await realpath(this.home);
    try {
      if (!(await readMounts()).some((entry) => entry.mountPoint === home)) mount(home, home, 'none', MS.BIND);
      mount('', home, 'none', MS.PRIVATE);
    } catch (error) {
      throw wrap('overlay: failed to make mount private', error);
    }
  }
}

/** `<layer>/merged` below the run root, as far as it is empty. */
function removeMountPoint(target: string): void {
  try {
    for (const path of [target, dirname(target)]) rmdirSync(path);
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EBUSY'].includes(codeOf(error) ?? '')) throw error;
  }
}
