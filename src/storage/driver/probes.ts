import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { textOf } from '../../errors/index.ts';
import { mount, unmountIfMounted } from '../../linux/index.ts';
import type { Logger } from '../../log/index.ts';

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
      await writeFile(join(dir, 'lower', 'file'), 'contents', { mode: 0o600 });
      const copied = await this.#mounts(dir, data.join(''), () => chmod(join(dir, 'merged', 'file'), 0o700));
      // A file copied up without its data has a size and no blocks.
      return copied && (await stat(join(dir, 'upper', 'file'))).blocks === 0;
    });
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

  async #mounts(directory: string, options: string, whileMounted: () => Promise<void> = async () => {}): Promise<boolean> {
    const at = (name: string) => join(directory, name);
    const data = `lowerdir=${at('lower')}:${at('lower2')},upperdir=${at('upper')},workdir=${at('work')}${options}`;
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
