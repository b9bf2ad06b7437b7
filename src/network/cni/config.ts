import { Failure, textOf, wrap } from '../../errors/index.ts';
import { type Json, type JsonObject, goJson, goType, isObject, property } from './json.ts';
import { CNI_VERSION, compareVersions } from './version.ts';

/** One plugin of a network, parsed. */
export interface PluginConfig {
  readonly type: string;
  /** The plugin's own `name`; only single-plugin files have one. */
  readonly name: string;
  /** Capabilities that the plugin lists as true [H30]. */
  readonly capabilities: ReadonlySet<string>;
  readonly json: JsonObject;
}

/** A network: a chain of plugins under one name. */
export interface NetworkConfig {
  readonly name: string;
  /** '' where the file names none: treated as 0.1.0 in checks [H9]. */
  readonly cniVersion: string;
  readonly disableCheck: boolean;
  readonly disableGc: boolean;
  readonly loadOnlyInlinedPlugins: boolean;
  readonly plugins: readonly PluginConfig[];
  /** What goes into the cache as `config`: the file's own bytes, or a single plugin's wrapped form. */
  readonly bytes: Uint8Array;
}

/** `/etc/cni/net.d/*.conflist` [H8]. Fails with libcni's texts; `plugins` may be empty when the key is absent. */
export function parseNetworkList(bytes: Uint8Array): NetworkConfig {
  const list = parseJson(bytes, 'error parsing configuration list');
  if (!isObject(list)) throw invalid(`error parsing configuration list: json: cannot unmarshal ${jsonKind(list)} into Go value`);
  const name = property(list, 'name');
  if (name === undefined) throw invalid('error parsing configuration list: no name');
  if (typeof name !== 'string') throw invalid(`error parsing configuration list: invalid name type ${goType(name)}`);
  const loadOnlyInlinedPlugins = flag(list, 'loadOnlyInlinedPlugins');
  return {
    name,
    cniVersion: versionOf(list),
    disableCheck: flag(list, 'disableCheck'),
    disableGc: flag(list, 'disableGC'),
    loadOnlyInlinedPlugins,
    plugins: pluginsOf(list, loadOnlyInlinedPlugins),
    bytes,
  };
}

/** A file that holds one plugin (`.conf`, `.json`), made a list of one [H5]. */
export function parseSinglePlugin(bytes: Uint8Array): NetworkConfig {
  const plugin = parsePlugin(bytes);
  const version = property(plugin.json, 'cniVersion') ?? '';
  if (typeof version !== 'string') throw invalid(`error parsing configuration: invalid cniVersion type ${goType(version)}`);
  return parseNetworkList(Buffer.from(goJson({ name: plugin.name, cniVersion: version, plugins: [plugin.json] })));
}

/** One plugin's configuration, from a file or from a list's `plugins`. */
export function parsePlugin(source: Uint8Array | Json): PluginConfig {
  const json = source instanceof Uint8Array ? parseJson(source, 'error parsing configuration') : source;
  const type = isObject(json) ? (property(json, 'type') ?? '') : '';
  if (!isObject(json)) throw invalid(`error parsing configuration: json: cannot unmarshal ${jsonKind(json)} into Go value`);
  const name = property(json, 'name') ?? '';
  if (typeof type !== 'string' || typeof name !== 'string')
    throw invalid(
      `error parsing configuration: invalid ${typeof type === 'string' ? 'name' : 'type'} type ${goType(typeof type === 'string' ? name : type)}`,
    );
  if (type === '') throw invalid("error parsing configuration: missing 'type'");
  return { type, name, capabilities: capabilitiesOf(json), json };
}

/** The same network with the plugins of `<dir>/<network name>/*.conf` appended [H8]. */
export function withPlugins(network: NetworkConfig, more: readonly PluginConfig[]): NetworkConfig {
  return { ...network, plugins: [...network.plugins, ...more] };
}

function pluginsOf(list: JsonObject, onlyInlined: boolean): readonly PluginConfig[] {
  const plugins = property(list, 'plugins');
  if (plugins === undefined) {
    if (onlyInlined) throw invalid("error parsing configuration list: `loadOnlyInlinedPlugins` is true, and no 'plugins' key");
    return [];
  }
  if (!Array.isArray(plugins)) throw invalid(`error parsing configuration list: invalid 'plugins' type ${goType(plugins)}`);
  if (plugins.length === 0) throw invalid('error parsing configuration list: no plugins in list');
  return plugins.map((plugin: Json, index) => {
    try {
      return parsePlugin(plugin);
    } catch (error) {
      throw wrap(`failed to parse plugin config ${index}`, error);
    }
  });
}

/** The highest version of `cniVersion` and `cniVersions` that this client speaks. */
function versionOf(list: JsonObject): string {
  const single = property(list, 'cniVersion') ?? '';
  if (typeof single !== 'string') throw invalid(`error parsing configuration list: invalid cniVersion type ${goType(single)}`);
  const several = property(list, 'cniVersions');
  if (several === undefined) return single;
  if (!Array.isArray(several)) throw invalid(`error parsing configuration list: invalid type for cniVersions: ${goType(several)}`);
  const usable: string[] = [];
  const consider = (version: string, what: string) => {
    try {
      if (compareVersions(version, CNI_VERSION) <= 0) usable.push(version);
    } catch (error) {
      throw wrap(`error parsing configuration list: invalid ${what}`, error);
    }
  };
  several.forEach((version: Json, index) => {
    if (typeof version !== 'string')
      throw invalid(`error parsing configuration list: invalid type for cniVersions index ${index}: ${goType(version)}`);
    consider(version, `cniVersions entry ${version} at index ${index}`);
  });
  if (single !== '') consider(single, `cniVersion ${single}`);
  return usable.toSorted(compareVersions).at(-1) ?? single;
}

function capabilitiesOf(json: JsonObject): ReadonlySet<string> {
  const declared = property(json, 'capabilities') ?? {};
  if (!isObject(declared)) throw invalid(`error parsing configuration: invalid capabilities type ${goType(declared)}`);
  const enabled = new Set<string>();
  for (const [name, value] of Object.entries(declared)) {
    if (typeof value !== 'boolean') throw invalid(`error parsing configuration: invalid type ${goType(value)} for capability ${name}`);
    if (value) enabled.add(name);
  }
  return enabled;
}

function flag(list: JsonObject, key: string): boolean {
  const value = property(list, key);
  if (value === undefined) return false;
  if (typeof value === 'boolean') return value;
  if (typeof value !== 'string') throw invalid(`error parsing configuration list: invalid type ${goType(value)} for ${key}`);
  const text = value.toLowerCase();
  if (text !== 'true' && text !== 'false') throw invalid(`error parsing configuration list: invalid value "${text}" for ${key}`);
  return text === 'true';
}

function parseJson(bytes: Uint8Array, prefix: string): Json {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')) as Json;
  } catch (error) {
    throw invalid(`${prefix}: ${textOf(error)}`);
  }
}

function jsonKind(value: Json): string {
  return value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
}

function invalid(message: string): Failure {
  return new Failure('InvalidArgument', message);
}
