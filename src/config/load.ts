/**
 * Lays the sources of configuration over each other: built-in defaults with storage.conf, main file, drop-in files,
 * environment, flags; the later wins key by key [A2, B1–B6].
 */
import { existsSync } from 'node:fs';
import { Failure, wrap } from '../errors/index.ts';
import { type Config, type Draft, configOf, defaultDraft, fieldsOf, handlerOf } from './config.ts';
import { type FileSource, diskFiles } from './files.ts';
import { type Environment, type GlobalFlags, parseGlobalFlags } from './flags.ts';
import { type Reading, readToml } from './reader.ts';
import { type CommandLine, ROWS, type RuntimeHandlerConfig, commandLineTable } from './schema/index.ts';
import { parseSize } from './schema/index.ts';
import { storageDefaults } from './storage-conf.ts';

export interface LoadOptions {
  /** The command line without the program's name. */
  readonly args: readonly string[];
  readonly env: Environment;
  readonly files?: FileSource;
  /** Whether the kernel has SELinux on; found out where it is not said. */
  readonly selinux?: boolean;
}

/** A key that is set and that nothing acts on yet, and where: `/etc/crio/crio.conf:12`, `--enable-nri`, a variable. */
export interface UnhonouredKey {
  readonly key: string;
  readonly source: string;
}

export interface LoadedConfig {
  readonly config: Config;
  readonly commandLine: CommandLine;
  readonly flags: GlobalFlags;
  /** What was read, in CRI-O's words, for the log at info level [A16]. */
  readonly notices: readonly string[];
  /** Unknown keys, one line each. */
  readonly warnings: readonly string[];
  readonly unhonoured: readonly UnhonouredKey[];
  /** Where each key got its value last; keys at their default are missing. */
  readonly sources: ReadonlyMap<string, string>;
}

/**
 * Reads everything, changes nothing, checks types only: validateConfig checks the values.
 * Throws Failure: code `usage` for a wrong command line or variable, else `get and merge config from context: …` [A17].
 */
export function loadConfig(options: LoadOptions): LoadedConfig {
  const flags = parseGlobalFlags(options.args, options.env);
  const commandLine = fieldsOf(commandLineTable, (name) => flags.given.get(name)?.value ?? commandLineTable.rows[name].initial);
  const files = options.files ?? diskFiles;
  try {
    const { unhonoured, ...defaults } = storageDefaults(files, options.env);
    const layers = new Layers(defaultDraft({ ...defaults, selinux: options.selinux ?? selinuxEnabled() }));
    layers.without(unhonoured);
    readMainFile(layers, files, commandLine, flags);
    readDropIns(layers, files, commandLine.configDir);
    layers.flags(flags);
    for (const item of commandLine.runtimes) layers.handler(item, flags.given.get('runtimes')?.source ?? '--runtimes');
    return { config: configOf(layers.draft), commandLine, flags, ...layers.report() };
  } catch (error) {
    throw wrap('get and merge config from context', error);
  }
}

/** A missing main file matters only where its path was given [A18]. */
function readMainFile(layers: Layers, files: FileSource, commandLine: CommandLine, flags: GlobalFlags): void {
  const path = commandLine.config;
  if (path === '') return;
  layers.notices.push(`Updating config from single file: ${path}`, `Updating config from drop-in file: ${path}`);
  try {
    const toml = files.read(path);
    if (toml !== undefined) {
      layers.file(readToml(toml, path), path);
      return;
    }
  } catch (error) {
    throw wrap('update config from file: update config from drop-in file', error);
  }
  layers.notices.push(`Skipping not-existing config file "${path}"`);
  if (!flags.given.has('config')) return;
  throw new Failure(
    'InvalidArgument',
    `update config from file: update config from drop-in file: open ${path}: no such file or directory`,
    { advice: `Correct the path behind ${flags.given.get('config')?.source}, or write the file: crio config --default > ${path}` },
  );
}

function readDropIns(layers: Layers, files: FileSource, directory: string): void {
  if (directory === '') return;
  layers.notices.push(`Updating config from path: ${directory}`);
  try {
    for (const path of files.walk(directory)) {
      layers.notices.push(`Updating config from drop-in file: ${path}`);
      layers.file(readToml(files.read(path) ?? '', path), path);
    }
  } catch (error) {
    throw wrap('update config from path: walk path', error);
  }
}

const BY_KEY = new Map(ROWS.map(({ key, row }) => [key, row]));

class Layers {
  readonly draft: Draft;
  readonly notices: string[] = [];
  private readonly warnings: string[] = [];
  private readonly sources = new Map<string, string>();
  private readonly unhonoured = new Map<string, string>();

  constructor(draft: Draft) {
    this.draft = draft;
  }

  file(reading: Reading, path: string): void {
    for (const [key, value] of reading.values) {
      const row = BY_KEY.get(key);
      this.draft.values.set(key, row?.merge === undefined ? value : row.merge(this.draft.values.get(key), value));
    }
    for (const [name, handler] of reading.runtimes) this.draft.runtimes.set(name, handler);
    for (const [name, workload] of reading.workloads) this.draft.workloads.set(name, workload);
    for (const { key, line, honoured } of reading.given) this.note(key, `${path}:${line}`, honoured);
    this.warnings.push(...reading.warnings);
  }

  flags(flags: GlobalFlags): void {
    for (const [key, { value, source, honoured }] of flags.given) {
      if (BY_KEY.has(key)) this.draft.values.set(key, value);
      this.note(key, source, honoured);
      if (source === 'CONTAINER_INCLUDED_POD_METRCIS') {
        this.warnings.push(`${source} (typo) will be ineffective in future releases. Use CONTAINER_INCLUDED_POD_METRICS instead.`);
      }
    }
  }

  /** Keys of other files that nothing honours yet. */
  without(keys: readonly UnhonouredKey[]): void {
    for (const { key, source } of keys) this.unhonoured.set(key, source);
  }

  handler(item: string, source: string): void {
    const { name, handler } = handlerOfFlag(item);
    this.draft.runtimes.set(name, handler);
    this.sources.set(`crio.runtime.runtimes.${name}`, source);
  }

  report(): Pick<LoadedConfig, 'notices' | 'warnings' | 'unhonoured' | 'sources'> {
    const unhonoured = [...this.unhonoured].map(([key, source]) => ({ key, source }));
    return { notices: this.notices, warnings: this.warnings, unhonoured, sources: this.sources };
  }

  private note(key: string, source: string, honoured: boolean): void {
    this.sources.set(key, source);
    if (!honoured) this.unhonoured.set(key, source);
  }
}

/** `name:path:root[:type[:privileged_without_host_devices[:config_path[:container_min_memory]]]]` [A169]. */
function handlerOfFlag(item: string): { name: string; handler: RuntimeHandlerConfig } {
  const fields = item.split(':');
  const [name = '', path = '', root = '', type = 'oci', privileged = '', configPath = '', memory = ''] = fields;
  if (fields.length < 3 || fields.length > 7) {
    throw new Failure('InvalidArgument', `invalid format for --runtimes: "${item}"`, {
      advice: 'Write NAME:PATH:ROOT, for example --runtimes runc:/usr/bin/runc:/run/runc.',
    });
  }
  const size = fields.length === 7 ? parseSize(memory) : undefined;
  if (size !== undefined && 'problem' in size) {
    throw new Failure('InvalidArgument', `invalid value "${memory}" for --runtimes:container_min_memory: ${size.problem}`, {
      advice: 'Write a size such as 500KiB.',
    });
  }
  const values = new Map<string, unknown>([
    ['runtime_path', path],
    ['runtime_root', root],
    ['runtime_type', type],
    ['privileged_without_host_devices', privileged === 'true'],
    ['runtime_config_path', configPath],
    ['container_min_memory', memory],
  ]);
  return { name, handler: handlerOf(values) };
}

/** The kernel shows its SELinux state in a file system of its own; without it, it is off [A145]. */
function selinuxEnabled(): boolean {
  return existsSync('/sys/fs/selinux/enforce');
}
