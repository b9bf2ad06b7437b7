import { existsSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, symlinkSync, unlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Failure, codeOf } from '../../errors/index.ts';
import { type HexId, isHexId } from '../../ids/index.ts';
import type { Logger } from '../../log/index.ts';
import { parseLower } from '../mount-plan.ts';
import { isLinkName } from '../names.ts';
import { damageOf } from './damage.ts';

/** What a layer on top needs to know of the one below. */
export interface Rung {
  readonly link: string;
  readonly lower: string | undefined;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface HomesOptions {
  /** `G/overlay`. */
  readonly home: string;
  /** Where image layers are made: the image store's, else `home`. */
  readonly imageHome: string;
  /** The homes of additional image stores, which nothing is written to. */
  readonly additionalHomes: readonly string[];
  readonly log: Logger;
}

/** The driver homes of a store: where the directory of a layer is, and what lies below it (docs/reference/cri-o-ondisk.md §1.7) [J7, J37]. */
export class Homes {
  /** Those that are written. */
  readonly own: ReadonlySet<string>;
  /** In the order of search. */
  readonly all: readonly string[];
  readonly #home: string;
  readonly #log: Logger;
  readonly #rungs = new Map<HexId, Rung>();

  constructor({ home, imageHome, additionalHomes, log }: HomesOptions) {
    this.own = new Set([home, imageHome]);
    this.all = [...this.own, ...additionalHomes];
    this.#home = home;
    this.#log = log;
  }

  /** The first home that has a directory of the layer; the graph root's where none has. */
  homeOf(layer: HexId): string {
    if (this.all.length === 1) return this.#home;
    return this.all.find((home) => existsSync(join(home, layer))) ?? this.#home;
  }

  directory(layer: HexId): string {
    return join(this.homeOf(layer), layer);
  }

  /** Forgets what was read of a layer, or of all: somebody else may have replaced them. */
  forget(layer?: HexId): void {
    if (layer === undefined) this.#rungs.clear();
    else this.#rungs.delete(layer);
  }

  rung(layer: HexId): Rung {
    const known = this.#rungs.get(layer);
    if (known !== undefined) return known;
    const directory = this.directory(layer);
    if (!existsSync(directory))
      throw new Failure('NotFound', `layer ${layer} has no directory below ${this.#home}: layer not known`, {
        advice: 'Remove the image and pull it again.',
      });
    const damage = damageOf(directory, undefined);
    if (damage !== undefined) throw damaged(layer, damage);
    const link = readFileSync(join(directory, 'link'), 'utf8');
    const { mode, uid, gid } = statSync(join(directory, 'diff'));
    const rung = { link, lower: readOptional(join(directory, 'lower')), mode: mode & 0o7777, uid, gid };
    this.#rungs.set(layer, rung);
    return rung;
  }

  /** The lower directories of a layer, older contents (`diff1`, …) included; lost links are made again [J27]. */
  lowerPaths(layer: HexId): string[] {
    const directory = this.directory(layer);
    const text = readOptional(join(directory, 'lower'));
    const paths = olderContents(`${directory}/`);
    if (text === undefined) return paths;
    const names = parseLower(text);
    if (names === undefined) throw damaged(layer, 'its lower file is broken');
    for (const name of names) {
      const path = this.#linkPath(name) ?? this.#repairedLink(name);
      paths.push(path, ...olderContents(`${path}/../`));
    }
    return paths;
  }

  /** The layers that the `lower` file of a layer leads to; not those whose links are lost. */
  layersBelow(layer: HexId): HexId[] {
    const names = parseLower(readOptional(join(this.directory(layer), 'lower')) ?? '') ?? [];
    return names.flatMap((name) => {
      const path = this.#linkPath(name);
      const id = path === undefined ? '' : basename(dirname(readlinkSync(path)));
      return isHexId(id) ? [id] : [];
    });
  }

  /** Directories of the own homes that are layers by their name. */
  layersOnDisk(): HexId[] {
    return [...this.own].flatMap(layersIn);
  }

  /** Removes links of `l/` that lead nowhere. */
  removeDanglingLinks(): void {
    for (const links of [...this.own].map((home) => join(home, 'l')))
      for (const name of readdirSync(links)) if (!existsSync(join(links, name))) unlinkSync(join(links, name));
  }

  /** A link that leads somewhere, in the first home that has it. */
  #linkPath(name: string): string | undefined {
    return this.all.map((home) => join(home, 'l', name)).find((path) => existsSync(path));
  }

  #repairedLink(name: string): string {
    const missing = join(this.#home, 'l', name);
    const text = "Can't stat lower layer %q because it does not exist. Going through storage to recreate the missing symlinks.";
    this.#log.warn(text.replace('%q', JSON.stringify(missing)));
    for (const home of this.own) repairLinks(home);
    const path = this.#linkPath(name);
    if (path !== undefined) return path;
    throw new Failure('Internal', `lower layer ${missing} does not exist`, {
      code: 'ENOENT',
      advice: 'Mount the additional image store that it was in, or pull the image again.',
    });
  }
}

function damaged(layer: HexId, damage: string): Failure {
  return new Failure('FailedPrecondition', `layer ${layer} is damaged: ${damage}`, {
    advice: 'Pull the image again, or look with crio check.',
  });
}

function layersIn(home: string): HexId[] {
  return readdirSync(home).filter((name) => isHexId(name));
}

/** Makes the lost links of a home's layers again. */
function repairLinks(home: string): void {
  for (const layer of layersIn(home)) {
    const link = readOptional(join(home, layer, 'link'));
    if (link === undefined || !isLinkName(link)) continue;
    const path = join(home, 'l', link);
    if (existsSync(path)) continue;
    rmSync(path, { force: true });
    symlinkSync(`../${layer}/diff`, path);
  }
}

/** `diff1`, `diff2`, … beside a layer's `diff`: contents from before it was shifted to other ids. */
function olderContents(prefix: string): string[] {
  const found: string[] = [];
  for (let n = 1; existsSync(`${prefix}diff${n}`); n++) found.push(`${prefix}diff${n}`);
  return found;
}

export function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
