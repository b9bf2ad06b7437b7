/**
 * The storage defaults that all tools of the containers family share: one storage.conf and a few variables
 * [A28, B11, J1, J5, J8]. Keys that CRI-O acts on and we do not yet are told; others belong to other tools and are passed over.
 */
import { Failure } from '../errors/index.ts';
import type { Environment } from './flags.ts';
import { type FileSource } from './files.ts';
import type { NodeDefaults, PullOptions } from './config.ts';
import { parseToml } from './reader.ts';
import { isTable } from './schema/index.ts';

/** Keys that become `overlay.KEY=VALUE`; those of [storage.options.overlay] go before those of [storage.options]. */
const SCALARS = ['size', 'inodes', 'mount_program', 'mountopt', 'skip_mount_home', 'ignore_chown_errors', 'force_mask', 'use_composefs'];
const LISTS: readonly (readonly [string, string])[] = [
  ['additionalimagestores', 'imagestore'],
  ['additionallayerstores', 'additionallayerstore'],
];

/** Keys of [storage] and its tables that change what CRI-O does with a store. */
const WITHOUT_EFFECT: readonly (readonly [table: '' | 'options' | 'options.pull_options', key: string])[] = [
  ['', 'transient_store'],
  ['options', 'disable-volatile'],
  ['options', 'root-auto-userns-user'],
  ['options', 'auto-userns-min-size'],
  ['options', 'auto-userns-max-size'],
  ['options.pull_options', 'convert_images'],
  ['options.pull_options', 'ostree_repos'],
  ['options.pull_options', 'insecure_allow_unpredictable_image_contents'],
];

type Table = Readonly<Record<string, unknown>>;

export interface StorageDefaults extends Required<Pick<NodeDefaults, 'storage' | 'pullOptions'>> {
  /** Keys that are set and have no effect yet, with the file. */
  readonly unhonoured: readonly { readonly key: string; readonly source: string }[];
}

export function storageDefaults(files: FileSource, env: Environment): StorageDefaults {
  const found = firstFile(files, env);
  const storage = at(found === undefined ? {} : parseToml(found.text, found.path), 'storage');
  const options = at(storage, 'options');
  const pullOptions = at(options, 'pull_options');
  const source = found?.path ?? '';
  const tables = { '': storage, options, 'options.pull_options': pullOptions };
  const set = WITHOUT_EFFECT.filter(([table, key]) => asksForSomething(tables[table][key]));
  const unhonoured = set.map(([table, key]) => ({ key: ['storage', table, key].filter((part) => part !== '').join('.'), source }));
  return { storage: storeDefaults(storage, env), pullOptions: pullOptionsOf(pullOptions, source), unhonoured };
}

function storeDefaults(storage: Table, env: Environment): NonNullable<NodeDefaults['storage']> {
  const text = (name: string) => (typeof storage[name] === 'string' ? storage[name] : '');
  const driver = env['STORAGE_DRIVER'] || text('driver');
  const options = env['STORAGE_OPTS'] ? env['STORAGE_OPTS'].split(',') : optionsOf(at(storage, 'options'));
  return {
    ...(text('graphroot') === '' ? {} : { root: text('graphroot') }),
    ...(text('runroot') === '' ? {} : { runroot: text('runroot') }),
    imagestore: text('imagestore'),
    storageDriver: driver === 'overlay2' ? 'overlay' : driver,
    storageOption: options,
  };
}

/** What is off, empty or zero asks for nothing, whether it is written as a text or not. */
function asksForSomething(value: unknown): boolean {
  if (isTable(value)) return Object.values(value).some(asksForSomething);
  return typeof value === 'string' ? !['', '0', 'false'].includes(value) : Boolean(value);
}

function firstFile(files: FileSource, env: Environment): { path: string; text: string } | undefined {
  const named = env['CONTAINERS_STORAGE_CONF'];
  const home = env['XDG_CONFIG_HOME'];
  const paths = named
    ? [named]
    : [...(home ? [`${home}/containers/storage.conf`] : []), '/etc/containers/storage.conf', '/usr/share/containers/storage.conf'];
  for (const path of paths) {
    const text = files.read(path);
    if (text !== undefined) return { path, text };
  }
  return undefined;
}

function optionsOf(options: Table): string[] {
  const overlay = at(options, 'overlay');
  const lists = LISTS.flatMap(([key, name]) => strings(options[key]).map((value) => `overlay.${name}=${value}`));
  const scalars = SCALARS.flatMap((key) => {
    const value = overlay[key] ?? options[key];
    return typeof value === 'string' && value !== '' ? [`overlay.${key}=${value}`] : [];
  });
  return [...lists, ...scalars];
}

/** Their values are strings, and what is not `true` is off [J39]. */
function pullOptionsOf(options: Table, path: string): PullOptions {
  const isOn = (name: string) => {
    const value = options[name] ?? '';
    if (typeof value === 'string') return value.toLowerCase() === 'true';
    throw new Failure('InvalidArgument', `${path}: storage.options.pull_options.${name} is no string`, {
      advice: `Write ${name} = "true" or "false", in quotes.`,
    });
  };
  return { partialImages: isOn('enable_partial_images'), hardLinks: isOn('use_hard_links') };
}

function at(table: Table, name: string): Table {
  const inner = table[name];
  return isTable(inner) ? inner : {};
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}
