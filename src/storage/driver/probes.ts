import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { textOf } from '../../errors/index.ts';
import { bindIdMapped, mount, unmountIfMounted } from '../../linux/index.ts';
import type { Logger } from '../../log/index.ts';
import { holdUserNamespace } from '../../process/index.ts';

/** Of a file that is large beside what a file system keeps of its attributes. */
const PROBE_BYTES = 64 * 1024;
/** Any ids but our own: what is asked is whether they can be mapped at all. */
const PROBE_MAP = '0 100000 65536';

/**
 * What the kernel's overlay can do below a driver home, found out once a boot and remembered for every tool on the
 * node in `R/overlay/<feature>-true` or `-false` (docs/reference/cri-o-ondisk.md §1.6) [J32].
 */
export class Probes {
  readonly #home: string;
  readonly #runHome: string;
  readonly #log: Logger;

  constructor(home: string, runHome: string, log: Logger) {
    this.#home = home;
    this.#runHome = runHome;
    this.#log = log;
  }

  /** Native overlay works at all. A wrong `overlay-false` would make podman fall back to fuse-overlayfs: only a real failure writes it. */
  overlay(): Promise<boolean> {
    return this.#remembered('overlay', 'compat', (dir) => this.#mounts(dir, ''));
  }

  volatile(): Promise<boolean> {
    return this.#remembered('volatile', 'volatile-check', (dir) => this.#mounts(dir, ',volatile'));
  }

  /** Whether changing only a mode copies up no data with these `mountopt` words. */
  metacopy(mountOptions: readonly string[]): Promise<boolean> {
    const data = mountOptions.filter((word) => word.includes('=')).map((word) => `,${word}`);
    return this.#remembered(`metacopy(${mountOptions.join(',')})`, 'metacopy-check', async (dir) => {
      await writeFile(join(dir, 'lower', 'file'), randomBytes(PROBE_BYTES), { mode: 0o600 });
      const copied = await this.#mounts(dir, data.join(''), () => chmod(join(dir, 'merged', 'file'), 0o700));
      // Copied up without its data, it has a block for its attributes at most.
      return copied && (await stat(join(dir, 'upper', 'file'))).blocks * 512 < PROBE_BYTES / 2;
    });
  }

  /**
   * Whether this file system's files can be shown with other owners, and overlay takes such a view as a lower directory
   * (Linux ≥ 5.19). A node that makes no user namespace is not remembered: that is a setting, and may change.
   */
  async idMappedLowers(): Promise<boolean> {
    try {
      return await this.#remembered('idmapped-lower-dir', 'idmap-check', (directory) => this.#mapsIds(directory));
    } catch (error) {
      this.#log.warn(`Pods cannot have user namespaces: ${textOf(error)}`);
      return false;
    }
  }

  async #mapsIds(directory: string): Promise<boolean> {
    const holder = await holdUserNamespace([]);
    try {
      for (const file of ['uid_map', 'gid_map']) await writeFile(`/proc/${holder.pid}/${file}`, PROBE_MAP);
      await using namespace = await open(`/proc/${holder.pid}/ns/user`, 'r');
      const [lower, mapped] = [join(directory, 'lower'), join(directory, 'lower2')];
      try {
        bindIdMapped(lower, mapped, namespace.fd);
      } catch (error) {
        this.#log.debug(`Ids below ${this.#home} cannot be mapped: ${textOf(error)}`);
        return false;
      }
      try {
        return await this.#mounts(directory, '', async () => {}, mapped);
      } finally {
        unmountIfMounted(mapped);
      }
    } finally {
      await holder.end();
    }
  }

  async #remembered(feature: string, prefix: string, probe: (directory: string) => Promise<boolean>): Promise<boolean> {
    const file = join(this.#runHome, feature);
    if (existsSync(`${file}-true`)) return true;
    if (existsSync(`${file}-false`)) return false;
    const directory = await mkdtemp(join(this.#home, prefix));
    try {
      for (const name of ['lower', 'lower2', 'upper', 'work', 'merged']) await mkdir(join(directory, name));
      const works = await probe(directory);
      await writeFile(`${file}-${works}`, '', { mode: 0o644 });
      return works;
    } finally {
      unmountIfMounted(join(directory, 'merged'));
      await rm(directory, { recursive: true, force: true });
    }
  }

  async #mounts(
    directory: string,
    options: string,
    whileMounted: () => Promise<void> = async () => {},
    lowers = `${join(directory, 'lower')}:${join(directory, 'lower2')}`,
  ): Promise<boolean> {
    const at = (name: string) => join(directory, name);
    const data = `lowerdir=${lowers},upperdir=${at('upper')},workdir=${at('work')}${options}`;
    try {
      mount('overlay', at('merged'), 'overlay', 0, data);
    } catch (error) {
      this.#log.debug(`Overlay probe with options "${options}" failed: ${textOf(error)}`);
      return false;
    }
    try {
      await whileMounted();
    } finally {
      unmountIfMounted(at('merged'));
    }
    return true;
  }
}
