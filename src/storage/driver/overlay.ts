import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, unlinkSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, realpath, rename, rm, statfs, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import { type HexId, isHexId } from '../../ids/index.ts';
import { MS, mount, readMounts, unmountIfMounted } from '../../linux/index.ts';
import type { Logger } from '../../log/index.ts';
import { dataString, lowerOf, MAX_DEPTH, parseLower, planMount } from '../mount-plan.ts';
import { isLinkName, newLinkName } from '../names.ts';
import { type IdMapRequest, giveToRoot, mapLowers } from './id-map.ts';
import { performMount } from './perform.ts';
import { Probes } from './probes.ts';

export interface DriverOptions {
  /** `G/overlay`. */
  readonly home: string;
  /** `R/overlay`. */
  readonly runHome: string;
  /** Words of `mountopt`. */
  readonly mountOptions: readonly string[];
  /** Leave the driver home unmounted (`skip_mount_home`). */
  readonly skipMountHome: boolean;
  readonly log: Logger;
}

/** A layer's directory that was built but not published, and what it was built upon. */
export interface Built {
  readonly parent: HexId | undefined;
  readonly link: string;
  readonly lower: string | undefined;
}

/** What a layer on top needs to know of the one below. */
interface Rung {
  readonly link: string;
  readonly lower: string | undefined;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
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
  readonly #options: DriverOptions;
  readonly #probes: Probes;
  readonly #rungs = new Map<HexId, Rung>();
  #volatile = false;
  #metacopy = false;
  #idMaps = false;

  constructor(options: DriverOptions) {
    this.home = options.home;
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
    await mkdir(home, { recursive: true, mode: 0o700 });
    await mkdir(join(home, 'l'), { recursive: true, mode: 0o755 });
    await mkdir(runHome, { recursive: true, mode: 0o700 });
    const marker = join(home, '.has-mount-program');
    // Where the file is missing Go's tools walk the whole home, and call any `.wh.` name a sign of fuse-overlayfs.
    if (fresh || !existsSync(marker)) await writeFile(marker, 'false', { mode: 0o600 });
    else if ((await readFile(marker, 'utf8')) === 'true')
      log.warn(`${marker} says that a mount program made these layers; crio mounts them natively`);
    await this.#checkBacking();
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

  directory(layer: HexId): string {
    return join(this.home, layer);
  }

  merged(layer: HexId): string {
    return join(this.home, layer, 'merged');
  }

  /** Forgets what was read of layers: somebody else may have replaced them. */
  forget(): void {
    this.#rungs.clear();
  }

  /**
   * Builds the directory of the layer `layer` at `at`, which does not exist, and its link in `l/`, which leads nowhere
   * until `publish`. `contents`, a directory of the same mount, becomes its `diff`. Mode and owner of `diff` are the parent's, else 0555 and root [J23].
   * No lock is needed; `checkBelow` later says whether the parent is still the one that this was built upon.
   */
  async build(at: string, layer: HexId, parent: HexId | undefined, contents?: string): Promise<Built> {
    const below = parent === undefined ? undefined : this.#rung(parent);
    const lower = below === undefined ? undefined : lowerOf(below);
    if (lower !== undefined && lower.split(':').length > MAX_DEPTH) throw new Failure('FailedPrecondition', 'max depth exceeded');
    await mkdir(at, { mode: 0o700 });
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
      symlink(`../${layer}/diff`, join(this.home, 'l', link)),
      mkdir(join(at, 'work'), { mode: 0o700 }),
      mkdir(join(at, 'merged'), { mode: 0o700 }),
      writeFile(join(at, 'link'), link, { mode: 0o644 }),
      lower === undefined ? mkdir(join(at, 'empty'), { mode: 0o700 }) : writeFile(join(at, 'lower'), lower, { mode: 0o644 }),
    ]);
    return { parent, link, lower };
  }

  /** Fails with Unavailable if another tool has replaced the parent since `build`. */
  checkBelow(parent: HexId | undefined, built: Built): void {
    const lower = parent === undefined ? undefined : lowerOf(this.#rung(parent));
    if (parent !== built.parent || lower !== built.lower)
      throw new Failure('Unavailable', `layer ${parent} was replaced while a layer upon it was being created`, { advice: 'Try again.' });
  }

  /** Moves a directory from `build` to its place; a stale directory of that id goes to `grave` first. */
  publish(at: string, layer: HexId, grave: () => string): void {
    const directory = this.directory(layer);
    if (existsSync(directory)) this.bury(layer, grave);
    renameSync(at, directory);
  }

  /** Takes the link of a layer back that was built and not published. */
  async unlink({ link }: Pick<Built, 'link'>): Promise<void> {
    await rm(join(this.home, 'l', link), { force: true });
  }

  /** Removes the directory and link of a layer that has no record any more, and whose random id nobody will use again. */
  async remove(layer: HexId): Promise<void> {
    const directory = this.directory(layer);
    this.#rungs.delete(layer);
    const link = await readFile(join(directory, 'link'), 'utf8').catch(() => '');
    if (isLinkName(link)) await this.unlink({ link });
    await rm(directory, { recursive: true, force: true });
  }

  /** Moves a layer's directory and link away to be deleted: its name is free at once. Missing ones are fine. */
  bury(layer: HexId, grave: () => string): void {
    this.#rungs.delete(layer);
    const directory = this.directory(layer);
    unmountIfMounted(join(directory, 'merged'));
    const link = readOptional(join(directory, 'link'));
    if (link !== undefined && isLinkName(link)) rmSync(join(this.home, 'l', link), { force: true });
    try {
      renameSync(directory, grave());
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }

  isMounted(layer: HexId): boolean {
    const directory = statSync(this.directory(layer), { throwIfNoEntry: false });
    const merged = statSync(this.merged(layer), { throwIfNoEntry: false });
    return directory !== undefined && merged !== undefined && merged.dev !== directory.dev;
  }

  /** Mounts a layer on its `merged` and answers that path; a mount that is there is left alone. */
  mount(layer: HexId, request: LayerMount): string {
    const directory = this.directory(layer);
    const target = this.merged(layer);
    if (this.isMounted(layer)) return target;
    mkdirSync(target, { recursive: true, mode: 0o700 });
    const lowers = this.#lowerPaths(layer);
    // The kernel's mark of an unclean volatile mount; with it in place the next one would be refused [J26].
    rmSync(join(directory, 'work', 'work', 'incompat', 'volatile'), { recursive: true, force: true });
    const mapped = request.idMap === undefined ? undefined : this.#mapped(directory, lowers, request.idMap);
    const plan = planMount({
      layerDirectory: directory,
      lowers: mapped?.lowers ?? lowers,
      defaultOptions: this.#options.mountOptions,
      options: request.options,
      volatile: request.volatile && this.#volatile,
      metacopySupported: this.#metacopy,
      label: request.label,
    });
    try {
      performMount(plan);
    } catch (error) {
      throw wrap(`creating overlay mount to ${target}, mount_data="${plan.data ?? plan.lowers.join(':')}"`, error);
    } finally {
      // The overlay holds the mapped copies itself by now.
      mapped?.detach();
    }
    return target;
  }

  /** Shows a layer with all below it, read-only and with mapped ids, at `target`, a directory that whoever has it unmounts. */
  mountMapped(layer: HexId, target: string, userNamespace: string): void {
    const directory = this.directory(layer);
    const below = this.#lowerPaths(layer);
    const paths = [join(this.home, 'l', this.#rung(layer).link), ...(below.length === 0 ? [join(directory, 'empty')] : below)];
    const { lowers, detach } = mapLowers({ home: this.home, directory, lowers: paths, map: { userNamespace }, place: `${target}.mapped` });
    const plan = { target, flags: MS.RDONLY | MS.NODEV, lowers, upper: undefined, parameters: [] };
    try {
      performMount({ ...plan, data: dataString(plan) });
    } finally {
      detach();
    }
  }

  #mapped(directory: string, lowers: readonly string[], map: IdMapRequest) {
    const mapped = mapLowers({ home: this.home, directory, lowers, map, place: join(directory, 'mapped') });
    giveToRoot(directory, map);
    return mapped;
  }

  /** Detaches the mount and puts an empty directory in the place of `merged`, which a copy of the mount elsewhere cannot pin. */
  unmount(layer: HexId): void {
    const target = this.merged(layer);
    unmountIfMounted(target);
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

  /** Directories of the home that are layers by their name. */
  layersOnDisk(): HexId[] {
    return readdirSync(this.home).filter((name) => isHexId(name));
  }

  /** Removes links of `l/` that lead nowhere. */
  removeDanglingLinks(): void {
    const links = join(this.home, 'l');
    for (const name of readdirSync(links)) if (!existsSync(join(links, name))) unlinkSync(join(links, name));
  }

  #rung(layer: HexId): Rung {
    const known = this.#rungs.get(layer);
    if (known !== undefined) return known;
    const directory = this.directory(layer);
    const link = readOptional(join(directory, 'link'));
    if (link === undefined)
      throw new Failure('NotFound', `layer ${layer} has no directory below ${this.home}: layer not known`, {
        advice: 'Remove the image and pull it again.',
      });
    if (!isLinkName(link)) throw new Failure('Internal', `layer ${layer} has a broken link file`);
    const { mode, uid, gid } = statSync(join(directory, 'diff'));
    const rung = { link, lower: readOptional(join(directory, 'lower')), mode: mode & 0o7777, uid, gid };
    this.#rungs.set(layer, rung);
    return rung;
  }

  /** The lower directories of a layer, older contents (`diff1`, …) included; lost links are made again [J27]. */
  #lowerPaths(layer: HexId): string[] {
    const directory = this.directory(layer);
    const text = readOptional(join(directory, 'lower'));
    const paths = olderContents(`${directory}/`);
    if (text === undefined) return paths;
    const names = parseLower(text);
    if (names === undefined) throw new Failure('Internal', `layer ${layer} has a broken lower file`);
    for (const name of names) {
      const path = join(this.home, 'l', name);
      if (!existsSync(path)) this.#repairLinks(path);
      paths.push(path, ...olderContents(`${path}/../`));
    }
    return paths;
  }

  #repairLinks(missing: string): void {
    const text = "Can't stat lower layer %q because it does not exist. Going through storage to recreate the missing symlinks.";
    this.#options.log.warn(text.replace('%q', JSON.stringify(missing)));
    for (const layer of this.layersOnDisk()) {
      const link = readOptional(join(this.directory(layer), 'link'));
      if (link === undefined || !isLinkName(link)) continue;
      const path = join(this.home, 'l', link);
      if (existsSync(path)) continue;
      rmSync(path, { force: true });
      symlinkSync(`../${layer}/diff`, path);
    }
    if (!existsSync(missing)) throw new Failure('Internal', `lower layer ${missing} does not exist`, { code: 'ENOENT' });
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

/** `diff1`, `diff2`, … beside a layer's `diff`: contents from before it was shifted to other ids. */
function olderContents(prefix: string): string[] {
  const found: string[] = [];
  for (let n = 1; existsSync(`${prefix}diff${n}`); n++) found.push(`${prefix}diff${n}`);
  return found;
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
