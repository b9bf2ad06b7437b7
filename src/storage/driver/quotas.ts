import { readdirSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, codeOf, textOf } from '../../errors/index.ts';
import { type ProjectLimits, checkProjects, limitProject, projectOf, setProject, stopInheritingProject } from '../../linux/index.ts';

const XFS_MAGIC = 0x58465342;
/** What containers/storage calls file systems. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [0x9123683e, 'btrfs'],
  [0xef53, 'extfs'],
  [0xf2f52010, 'f2fs'],
  [0x6969, 'nfs'],
  [0x794c7630, 'overlayfs'],
  [0x01021994, 'tmpfs'],
  [XFS_MAGIC, 'xfs'],
  [0x2fc12fc1, 'zfs'],
]);

/** How many projects a home may use, counted from its own: containers/storage's convention. */
const PROJECTS = 10_000;
const TOP = 2n ** 32n - 1n;
/** Where directories are before and after they are layers. */
const STAGING = ['staging', 'tempdirs'];

/**
 * Limits of space and files for containers' layers, as projects of XFS [J36]. Projects are counted up from that of the driver home,
 * or from a number made of its inode, as containers/storage does, so that podman and we can work on one disk. No project is taken
 * that a directory has, be it one that is still being deleted: its files would be counted for the next owner.
 */
export class Quotas {
  readonly #home: string;
  readonly #limits: ProjectLimits;
  readonly #base: number;
  /** Of directories, which keep theirs. */
  #known = new Map<string, number>();
  #last: number;

  private constructor(home: string, limits: ProjectLimits, base: number) {
    this.#home = home;
    this.#limits = limits;
    this.#base = base;
    this.#last = base;
  }

  /** Undefined where nothing is to be limited. Fails where the file system of the driver home cannot. */
  static async open(home: string, limits: ProjectLimits): Promise<Quotas | undefined> {
    if (limits.bytes === 0n && limits.inodes === 0n) return undefined;
    const { type } = await statfs(home);
    if (type !== XFS_MAGIC)
      throw new Failure(
        'FailedPrecondition',
        `storage option overlay.size and overlay.inodes only supported for backingFS XFS. Found ${NAMES.get(type) ?? '<unknown>'}`,
        { advice: 'Put the storage root on an XFS that is mounted with prjquota, or remove size and inodes.' },
      );
    const base = projectOf(home) || baseOf(home);
    try {
      checkProjects(home, base);
      stopInheritingProject(home);
    } catch (error) {
      const why = `failed to set quota limit for projid ${base} on ${home}: ${textOf(error)}`;
      throw new Failure(
        'FailedPrecondition',
        `storage options overlay.size and overlay.inodes not supported. Filesystem does not support Project Quota: ${why}`,
        { cause: error, advice: 'Mount it with the option prjquota (at its first mount: a remount does not do), on Linux 5.14 or newer.' },
      );
    }
    return new Quotas(home, limits, base);
  }

  /** Limits what will be made in a directory, which is empty. */
  assign(directory: string): void {
    const project = this.#free();
    limitProject(this.#home, project, this.#limits);
    setProject(directory, project);
    this.#known.set(directory, project);
  }

  #free(): number {
    this.#look();
    const taken = new Set(this.#known.values());
    for (let step = 1; step < PROJECTS; step++) {
      const project = this.#base + 1 + ((this.#last - this.#base + step - 1) % (PROJECTS - 1));
      if (taken.has(project)) continue;
      this.#last = project;
      return project;
    }
    throw new Failure('ResourceExhausted', `all ${PROJECTS - 1} projects of ${this.#home} are in use`, {
      advice: 'Remove containers that have ended.',
    });
  }

  /** Learns the projects of directories that are new, and forgets those that are gone. */
  #look(): void {
    const parents = [this.#home, ...STAGING.flatMap((name) => directoriesIn(join(this.#home, name)))];
    const found = new Map<string, number>();
    for (const path of parents.flatMap(directoriesIn)) {
      const project = this.#known.get(path) ?? readProject(path);
      if (project !== undefined) found.set(path, project);
    }
    this.#known = found;
  }
}

function baseOf(home: string): number {
  const count = BigInt(PROJECTS);
  return Number(count + ((statSync(home, { bigint: true }).ino * count) % (TOP - count)));
}

function directoriesIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(path, name));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Undefined for what has gone meanwhile. */
function readProject(directory: string): number | undefined {
  try {
    return projectOf(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
