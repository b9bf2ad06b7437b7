import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomic } from '../files/index.ts';
import { RUNTIME_VERSION } from '../version/index.ts';

/**
 * The files that tell a CRI-O which version ran here last and whether it ended in order (docs/reference/cri-o-ondisk.md §5.6).
 * Writing CRI-O's own major.minor keeps pods alive when a node is switched back.
 */
export class StateFiles {
  readonly #versionFiles: readonly string[];
  readonly #cleanShutdown: string;

  constructor(paths: { readonly versionFile: string; readonly versionFilePersist: string; readonly cleanShutdownFile: string }) {
    this.#versionFiles = [paths.versionFile, paths.versionFilePersist].filter((path) => path !== '');
    this.#cleanShutdown = paths.cleanShutdownFile;
  }

  /** At start: versions, and the marks of a run that has not ended yet. */
  async begin(): Promise<void> {
    for (const path of this.#versionFiles) {
      await mkdir(dirname(path), { recursive: true });
      await writeFileAtomic(path, JSON.stringify(RUNTIME_VERSION), { mode: 0o644 });
    }
    if (this.#cleanShutdown === '') return;
    await mkdir(dirname(this.#cleanShutdown), { recursive: true });
    await rm(this.#cleanShutdown, { force: true });
    await writeFile(`${this.#cleanShutdown}.supported`, '', { mode: 0o644 });
  }

  /** After an orderly stop. */
  async end(): Promise<void> {
    if (this.#cleanShutdown !== '') await writeFile(this.#cleanShutdown, '', { mode: 0o644 });
  }
}
