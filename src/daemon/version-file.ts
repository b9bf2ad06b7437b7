import { constants, existsSync } from 'node:fs';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Failure, codeOf, textOf } from '../errors/index.ts';
import { removeHalfWritten, writeFileAtomic } from '../files/index.ts';
import type { Logger } from '../log/index.ts';
import { CRIO_VERSION, RUNTIME_VERSION } from '../version/index.ts';

export interface StateFilePaths {
  /** On a tmpfs, so that it is missing after a reboot. Empty: not kept, as for the others. */
  readonly versionFile: string;
  readonly versionFilePersist: string;
  readonly cleanShutdownFile: string;
  readonly log: Logger;
}

export interface WipeDecision {
  readonly pods: boolean;
  readonly images: boolean;
}

/**
 * The files that tell a CRI-O which version ran here last and whether it ended in order (docs/reference/cri-o-ondisk.md §5.6).
 * Writing CRI-O's own major.minor keeps pods alive when a node is switched back.
 */
export class StateFiles {
  readonly #paths: StateFilePaths;

  constructor(paths: StateFilePaths) {
    this.#paths = paths;
  }

  /** Whether this is the first start after an upgrade (pods and images) or a reboot (pods) [O32, J48, J49]. */
  async wipeDecision(): Promise<WipeDecision> {
    if (await this.#isOutOfDate(this.#paths.versionFilePersist, 'images')) return { pods: true, images: true };
    return { pods: await this.#isOutOfDate(this.#paths.versionFile, 'containers'), images: false };
  }

  /** [O31] Missing, unreadable, or of another major or minor version. */
  async #isOutOfDate(path: string, what: string): Promise<boolean> {
    if (path === '') return false;
    try {
      return minorOf(await readVersion(path)) !== minorOf(CRIO_VERSION);
    } catch (error) {
      this.#paths.log.warn(`Error encountered when checking whether cri-o should wipe ${what}: ${textOf(error)}`);
      return true;
    }
  }

  /** At start, when it is decided what to wipe: versions, and the marks of a run that has not ended yet [O30, O34]. */
  async begin(): Promise<void> {
    const { versionFile, versionFilePersist, cleanShutdownFile: clean, log } = this.#paths;
    for (const path of [versionFile, versionFilePersist].filter((one) => one !== '')) {
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      await removeHalfWritten(path);
      await writeFileAtomic(path, JSON.stringify(RUNTIME_VERSION), { mode: 0o644 });
    }
    if (clean === '') return;
    const attempt = async (what: string, work: () => Promise<unknown>) => {
      await work().catch((error: unknown) => log.error(`${what}: ${textOf(error)}`));
    };
    await attempt('Removing clean shutdown file', () => rm(clean, { force: true }));
    await attempt('Creating clean shutdown supported parent directory', () => mkdir(dirname(clean), { recursive: true, mode: 0o755 }));
    await attempt('Writing clean shutdown supported file', () => writeFile(`${clean}.supported`, '', { mode: 0o644 }));
    await attempt('Failed to sync parent directory of clean shutdown file', () => syncDirectory(dirname(clean)));
  }

  /** After an orderly stop, with everything else on disk already [J51]. */
  async end(): Promise<void> {
    const { cleanShutdownFile: clean } = this.#paths;
    if (clean === '') return;
    try {
      await writeFile(clean, '', { mode: 0o644, flush: true });
    } catch (error) {
      throw new Failure('Unknown', `failed to write file to indicate a clean shutdown: ${textOf(error)}`, { cause: error });
    }
    try {
      await syncDirectory(dirname(clean));
    } catch (error) {
      throw new Failure('Unknown', `failed to sync clean shutdown file: ${textOf(error)}`, { cause: error });
    }
  }
}

/** Whether the last run was ended by no orderly stop, as far as it could tell [O35, J52]. To be asked before `begin`. */
export function shutdownWasUnclean(cleanShutdownFile: string): boolean {
  return cleanShutdownFile !== '' && existsSync(`${cleanShutdownFile}.supported`) && !existsSync(cleanShutdownFile);
}

/** A version file holds one JSON string [O29]. */
async function readVersion(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') throw new Failure('NotFound', `open ${path}: no such file or directory`, { cause: error });
    throw error;
  });
  let version: unknown;
  try {
    version = JSON.parse(text);
  } catch (error) {
    throw new Failure('Unknown', `version file ${path} malformatted: ${textOf(error)}`, { cause: error });
  }
  if (typeof version !== 'string' || minorOf(version) === undefined)
    throw new Failure('Unknown', `version file ${path} malformatted: ${text.slice(0, 100)} is no version`);
  return version;
}

/** `1.37` of `1.37.0+build`; undefined for what is no semantic version. */
function minorOf(version: string): string | undefined {
  return /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:[-+][0-9A-Za-z.+-]+)?$/.exec(version)?.slice(1, 3).join('.');
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  await directory.sync();
}
