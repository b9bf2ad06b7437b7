import { readFile, readdir } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { codeOf, textOf } from '../../errors/index.ts';
import type { Logger } from '../../log/index.ts';
import { type NetworkConfig, type PluginConfig, parseNetworkList, parsePlugin, parseSinglePlugin, withPlugins } from './config.ts';
import { compareBytes } from './json.ts';
import type { Plugins } from './plugins.ts';
import { isCniName } from './request.ts';

export interface LoadedNetwork {
  readonly file: string;
  readonly config: NetworkConfig;
}

export interface LoadedNetworks {
  /** By name, in the files' order. */
  readonly networks: ReadonlyMap<string, LoadedNetwork>;
  /** The name of the first usable file's network; '' when there is none [H4]. */
  readonly first: string;
  /** Files that are there and cannot be used, and why (needs p32). */
  readonly rejected: readonly { readonly file: string; readonly reason: string }[];
}

export const NETWORK_EXTENSIONS: readonly string[] = ['.conf', '.conflist', '.json'];

/**
 * Loads every network of a directory [H5–H8]: files sorted bytewise, unusable ones skipped with a log line,
 * the first of a name wins. A missing directory is an empty one; fails only when it cannot be read.
 */
export async function loadNetworks(dir: string, plugins: Plugins, log: Logger): Promise<LoadedNetworks> {
  const networks = new Map<string, LoadedNetwork>();
  const rejected: { file: string; reason: string }[] = [];
  let first = '';
  for (const file of await networkFiles(dir, NETWORK_EXTENSIONS)) {
    const config = await loadNetwork(file, dir, plugins, log, (reason) => rejected.push({ file, reason }));
    if (config === undefined) continue;
    const type = config.plugins[0]?.type ?? '';
    log.info(`Found CNI network ${config.name} (type=${type}) at ${file}`);
    if (networks.has(config.name)) log.info(`Ignored CNI network ${config.name} (type=${type}) at ${file} because already exists`);
    else networks.set(config.name, { file, config });
    if (first === '') first = config.name;
  }
  return { networks, first, rejected };
}

async function loadNetwork(
  file: string,
  dir: string,
  plugins: Plugins,
  log: Logger,
  reject: (reason: string) => void,
): Promise<NetworkConfig | undefined> {
  const isList = file.endsWith('.conflist');
  let config: NetworkConfig;
  try {
    const bytes = await readFile(file);
    config = isList ? await withPluginFiles(parseNetworkList(bytes), dir) : parseSinglePlugin(bytes);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    log.error(`Error loading CNI config ${isList ? 'list ' : ''}file ${file}: ${textOf(error)}`);
    reject(textOf(error));
    return undefined;
  }
  if (config.plugins.length === 0) {
    // libcni calls an empty list an error, an empty single file cannot be.
    log.error(`Error loading CNI config list file ${file}: no plugin configs found`);
    reject('no plugin configs found');
    return undefined;
  }
  const missing = await requirePlugins(config, plugins);
  if (missing.length > 0) {
    log.warn(`Error validating CNI config file ${file}: [${missing.join(' ')}]`);
    reject(missing.join('; '));
    return undefined;
  }
  return config.name === '' ? { ...config, name: basename(file) } : config;
}

async function requirePlugins(config: NetworkConfig, plugins: Plugins): Promise<readonly string[]> {
  const answers = await Promise.allSettled(config.plugins.map((plugin) => plugins.requireVersion(plugin.type, config.cniVersion)));
  return answers.filter((answer) => answer.status === 'rejected').map((answer) => textOf(answer.reason));
}

/** `<dir>/<network name>/*.conf`. A name that is more than one path element has no such files. */
async function withPluginFiles(config: NetworkConfig, dir: string): Promise<NetworkConfig> {
  if (config.loadOnlyInlinedPlugins || !isCniName(config.name)) return config;
  const more: PluginConfig[] = [];
  for (const file of await networkFiles(join(dir, config.name), ['.conf'])) more.push(parsePlugin(await readFile(file)));
  return withPlugins(config, more);
}

async function networkFiles(dir: string, extensions: readonly string[]): Promise<readonly string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory() && extensions.includes(extname(`x${entry.name}`)))
      .map((entry) => join(dir, entry.name))
      .toSorted(compareBytes);
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return [];
    throw error;
  }
}
