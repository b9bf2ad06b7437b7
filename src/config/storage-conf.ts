/**
 * The storage defaults that all tools of the containers family share: one storage.conf and a few variables
 * [A28, B11, J1, J5, J8]. Keys that we do not act on belong to other tools and are passed over.
 */
import type { Environment } from './flags.ts';
import { type FileSource } from './files.ts';
import type { NodeDefaults } from './config.ts';
import { parseToml } from './reader.ts';
import { isTable } from './schema/index.ts';

/** Keys that become `overlay.KEY=VALUE`; those of [storage.options.overlay] go before those of [storage.options]. */
const SCALARS = ['size', 'inodes', 'mount_program', 'mountopt', 'skip_mount_home', 'ignore_chown_errors', 'force_mask', 'use_composefs'];
const LISTS: readonly (readonly [string, string])[] = [
  ['additionalimagestores', 'imagestore'],
  ['additionallayerstores', 'additionallayerstore'],
];

export function storageDefaults(files: FileSource, env: Environment): NonNullable<NodeDefaults['storage']> {
  const found = firstFile(files, env);
  const storage = at(found === undefined ? {} : parseToml(found.text, found.path), 'storage');
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

function optionsOf(options: Readonly<Record<string, unknown>>): string[] {
  const overlay = at(options, 'overlay');
  const lists = LISTS.flatMap(([key, name]) => strings(options[key]).map((value) => `overlay.${name}=${value}`));
  const scalars = SCALARS.flatMap((key) => {
    const value = overlay[key] ?? options[key];
    return typeof value === 'string' && value !== '' ? [`overlay.${key}=${value}`] : [];
  });
  return [...lists, ...scalars];
}

function at(table: Readonly<Record<string, unknown>>, name: string): Readonly<Record<string, unknown>> {
  const inner = table[name];
  return isTable(inner) ? inner : {};
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}
