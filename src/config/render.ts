/**
 * The two ways a configuration is written: the commented template of `crio config` [A180–A186] and the plain form
 * of the start log, `/config` and `crio status config` [B10].
 */
import type { Config } from './config.ts';
import { defaultConfig, defaultHandler } from './config.ts';
import { quoted } from './schema/index.ts';
import {
  type Row,
  type Rows,
  type RuntimeHandlerConfig,
  TABLES,
  type Table,
  type WorkloadConfig,
  camelCase,
  handlerTable,
  resourcesTable,
  runtimeTable,
  workloadTable,
} from './schema/index.ts';

export interface RenderOptions {
  /** Keys at their default are commented out; otherwise every key stands bare. */
  readonly onlyChanged?: boolean;
  /** What counts as default; the built-in one if not given. */
  readonly defaults?: Config;
}

type Fields = Readonly<Record<string, unknown>>;

const PREAMBLE = `This is the configuration file of crio, in TOML. Keys that start a line with # are at their default.
Files below /etc/crio/crio.conf.d are read after /etc/crio/crio.conf in the order of their names; the last one that sets a key wins, then come environment and flags. An unknown key costs a warning, a value of a wrong type ends the start.`;

/** The template: every table and key with its explanation. What it prints reads back as the same configuration. */
export function renderConfig(config: Config, options: RenderOptions = {}): string {
  const defaults = options.defaults ?? defaultConfig();
  const onlyChanged = options.onlyChanged ?? false;
  const lines = [...comment(PREAMBLE), ''];
  for (const table of TABLES) {
    lines.push(...comment(table.doc), `[${table.path}]`, '');
    const before = fieldsAt(defaults, table.path);
    lines.push(...keyBlocks(table, fieldsAt(config, table.path), (field) => (onlyChanged ? before[field] : undefined)));
    if (table.path === runtimeTable.path) lines.push(...handlerBlocks(config, onlyChanged), ...workloadBlocks(config, onlyChanged));
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

/** `bare` tells what a field has to differ from to stand bare; undefined: it stands bare anyway. */
function keyBlocks(table: Table<Rows>, fields: Fields, bare: (field: string) => unknown): string[] {
  return Object.entries(table.rows).flatMap(([name, row]) => {
    const field = camelCase(name);
    const text = `${name} = ${row.codec.toToml(fields[field], 'template')}`;
    const reference = bare(field);
    const same = reference !== undefined && row.codec.toToml(reference, 'line') === row.codec.toToml(fields[field], 'line');
    return [...comment(docOf(row)), ...(same ? text.split('\n').map((line) => `# ${line}`) : [text]), ''];
  });
}

/**
 * A handler's table replaces an earlier one as a whole [B6], so an unchanged one is commented out to its header, and
 * a changed one shows bare whatever is not zero.
 */
function handlerBlocks(config: Config, onlyChanged: boolean): string[] {
  const builtIn = handlerText(defaultHandler());
  const lines = comment(handlerTable.doc);
  for (const [name, handler] of config.runtime.runtimes) {
    const unchanged = onlyChanged && name === 'crun' && handlerText(handler) === builtIn;
    const header = `[${handlerTable.path}.${tableName(name)}]`;
    lines.push(unchanged ? `# ${header}` : header, '');
    lines.push(...keyBlocks(handlerTable, handler, (field) => reference(handlerTable, handler, field, unchanged, onlyChanged)));
  }
  return lines;
}

function workloadBlocks(config: Config, onlyChanged: boolean): string[] {
  const lines = comment(workloadTable.doc);
  for (const [name, workload] of config.runtime.workloads) {
    const header = `${workloadTable.path}.${tableName(name)}`;
    lines.push(`[${header}]`, '');
    lines.push(...keyBlocks(workloadTable, workload, (field) => reference(workloadTable, workload, field, false, onlyChanged)));
    if (workload.resources === undefined) continue;
    const { resources } = workload;
    lines.push(...comment(resourcesTable.doc), `[${header}.resources]`, '');
    lines.push(...keyBlocks(resourcesTable, resources, (field) => reference(resourcesTable, resources, field, false, onlyChanged)));
  }
  return lines.length === 1 ? [...lines, `# [${workloadTable.path}.NAME]`, '# activation_annotation = "example.com/workload"', ''] : lines;
}

function reference(table: Table<Rows>, fields: Fields, field: string, unchanged: boolean, onlyChanged: boolean): unknown {
  if (unchanged) return fields[field];
  if (!onlyChanged) return undefined;
  return Object.entries(table.rows).find(([name]) => camelCase(name) === field)?.[1].initial;
}

function handlerText(handler: RuntimeHandlerConfig): string {
  return keyLines(handlerTable, handler, '').join('\n');
}

/** The plain form: tables indented by two blanks a level, keys in the order of the schema, no comments [B10]. */
export function serializeConfig(config: Config): string {
  const lines: string[] = [];
  for (const table of TABLES) {
    const depth = table.path.split('.').length;
    lines.push(`${'  '.repeat(depth - 1)}[${table.path}]`, ...keyLines(table, fieldsAt(config, table.path), '  '.repeat(depth)));
    if (table.path !== runtimeTable.path) continue;
    lines.push(`    [${handlerTable.path}]`);
    for (const [name, handler] of config.runtime.runtimes) {
      lines.push(`      [${handlerTable.path}.${tableName(name)}]`, ...keyLines(handlerTable, handler, '        '));
    }
    lines.push(`    [${workloadTable.path}]`);
    for (const [name, workload] of config.runtime.workloads) lines.push(...workloadLines(name, workload));
  }
  return `${lines.join('\n')}\n`;
}

function workloadLines(name: string, workload: WorkloadConfig): string[] {
  const path = `${workloadTable.path}.${tableName(name)}`;
  const lines = [`      [${path}]`, ...keyLines(workloadTable, workload, '        ')];
  if (workload.resources === undefined) return lines;
  return [...lines, `        [${path}.resources]`, ...keyLines(resourcesTable, workload.resources, '          ')];
}

function keyLines(table: Table<Rows>, fields: Fields, indent: string): string[] {
  return Object.entries(table.rows).flatMap(([name, row]) => {
    const value = row.codec.toToml(fields[camelCase(name)], 'line');
    const empty = row.omitEmpty === true && value === row.codec.toToml(row.codec.zero, 'line');
    return empty ? [] : [`${indent}${name} = ${value}`];
  });
}

/** The fields of a table by its TOML path. */
function fieldsAt(config: Config, path: string): Fields {
  const tables: Readonly<Record<string, Fields>> = {
    crio: config.crio,
    'crio.api': config.api,
    'crio.runtime': config.runtime,
    'crio.checkpoint_restore': config.checkpointRestore,
    'crio.image': config.image,
    'crio.network': config.network,
    'crio.metrics': config.metrics,
    'crio.tracing': config.tracing,
    'crio.nri': config.nri,
    'crio.nri.default_validator': config.nri.defaultValidator,
    'crio.stats': config.stats,
  };
  return tables[path] ?? {};
}

function tableName(name: string): string {
  return /^[A-Za-z0-9_-]+$/.test(name) ? name : quoted(name);
}

function docOf(row: Row<unknown>): string {
  const notes = [
    row.doc,
    ...(row.deprecated === undefined ? [] : [`Deprecated. ${row.deprecated}`]),
    ...(row.reloadable === true ? ['Taken over by a reload.'] : []),
    ...(row.honoured ? [] : ['Accepted, without effect so far.']),
  ];
  return notes.join(' ');
}

/** Comment lines of at most 100 characters. */
function comment(text: string): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const lines: string[] = [];
    let line = '#';
    for (const word of paragraph.split(' ')) {
      if (line.length + 1 + word.length > 100) {
        lines.push(line);
        line = '#';
      }
      line += ` ${word}`;
    }
    return [...lines, line];
  });
}
