import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import { type Alias, EMPTY_CONF, type RegistriesConf, mergeConf, parseAliasFile, parseRegistriesConf } from './conf.ts';

export interface RegistriesPaths {
  /** The first that exists is the main file; none is fine [I14], unless `required`. */
  readonly files: readonly string[];
  readonly required?: boolean;
  /** `*.conf` of each, in lexical order, later entries replace [I14]. */
  readonly dirs: readonly string[];
  /** Cached short-name aliases; what the configuration says goes before [I10]. */
  readonly aliasFile: string;
}

export interface LoadedRegistries {
  readonly conf: RegistriesConf;
  /** The main file, whether there is one or not: named in errors. */
  readonly path: string;
  readonly dirPath: string;
  readonly foundAny: boolean;
}

/** Reads everything once. Fails with the reference's `loading registries configuration %q: …` [I14]. */
export async function loadRegistries(paths: RegistriesPaths): Promise<LoadedRegistries> {
  let conf = EMPTY_CONF;
  let main: string | undefined;
  for (const path of paths.files) {
    const text = await readIfThere(path, 'loading registries configuration');
    if (text === undefined) continue;
    conf = inFile('loading registries configuration', path, () => parseRegistriesConf(text, path, false));
    main = path;
    break;
  }
  if (main === undefined && paths.required === true) {
    const path = paths.files.at(-1) ?? '';
    throw new Failure('NotFound', `loading registries configuration ${JSON.stringify(path)}: open ${path}: no such file or directory`);
  }
  let dropIns = 0;
  for (const path of (await Promise.all(paths.dirs.map(confFilesIn))).flat()) {
    const text = await readIfThere(path, 'loading drop-in registries configuration');
    if (text === undefined) continue;
    dropIns++;
    const later = inFile('loading drop-in registries configuration', path, () => parseRegistriesConf(text, path, true));
    conf = mergeConf(conf, later);
  }
  const cached = await readAliases(paths.aliasFile);
  conf = { ...conf, aliases: new Map([...cached, ...conf.aliases]) };
  return {
    conf,
    path: main ?? paths.files.at(-1) ?? '',
    dirPath: paths.dirs.at(-1) ?? '',
    foundAny: main !== undefined || dropIns > 0,
  };
}

async function readAliases(path: string): Promise<ReadonlyMap<string, Alias>> {
  const text = path === '' ? undefined : await readIfThere(path, 'loading short-name aliases config file');
  return text === undefined ? new Map() : inFile('loading short-name aliases config file', path, () => parseAliasFile(text, path));
}

async function confFilesIn(dir: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true });
    const names = entries.filter((entry) => !entry.isDirectory() && entry.name.endsWith('.conf')).map((entry) => entry.name);
    return names.sort().map((name) => join(dir, name));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw wrap('reading registries.conf.d', error);
  }
}

async function readIfThere(path: string, doing: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw wrap(`${doing} ${JSON.stringify(path)}`, error);
  }
}

function inFile<T>(doing: string, path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw wrap(`${doing} ${JSON.stringify(path)}`, error);
  }
}
