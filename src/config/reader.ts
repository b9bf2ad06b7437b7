/**
 * Reads one TOML file against the schema. Values come out by the dotted names of their keys; the two named tables
 * come out as whole handlers and workloads, because a table of a file replaces an earlier one as a whole [B6].
 */
import { parse, TomlError } from 'smol-toml';
import { Failure, textOf } from '../errors/index.ts';
import { fieldsOf, handlerOf } from './config.ts';
import { nearest } from './nearest.ts';
import { isTable, tomlTypeOf } from './schema/index.ts';
import {
  ROWS,
  type Row,
  type Rows,
  type RuntimeHandlerConfig,
  TABLES,
  type Table,
  type WorkloadConfig,
  handlerTable,
  resourcesTable,
  workloadTable,
} from './schema/index.ts';
import { type LineOf, keyLines } from './toml-lines.ts';

/** A key that a file sets, those inside named tables included. */
export interface GivenKey {
  readonly key: string;
  readonly line: number;
  readonly honoured: boolean;
}

export interface Reading {
  readonly values: ReadonlyMap<string, unknown>;
  readonly runtimes: ReadonlyMap<string, RuntimeHandlerConfig>;
  readonly workloads: ReadonlyMap<string, WorkloadConfig>;
  readonly given: readonly GivenKey[];
  /** One line per key or table that the schema does not have. */
  readonly warnings: readonly string[];
}

type TomlTable = Readonly<Record<string, unknown>>;

/** Throws a Failure (InvalidArgument) for text that is no TOML and for values of a wrong type [B8]. */
export function readToml(toml: string, file: string): Reading {
  const document = parseToml(toml, file);
  const reader = new Reader(file, keyLines(toml));
  reader.visit(document, '', []);
  return reader;
}

class Reader implements Reading {
  readonly values = new Map<string, unknown>();
  readonly runtimes = new Map<string, RuntimeHandlerConfig>();
  readonly workloads = new Map<string, WorkloadConfig>();
  readonly given: GivenKey[] = [];
  readonly warnings: string[] = [];
  private readonly file: string;
  private readonly lineOf: LineOf;

  constructor(file: string, lineOf: LineOf) {
    this.file = file;
    this.lineOf = lineOf;
  }

  /** `path` is the canonical name of the table, `raw` its name as the file spells it. */
  visit(document: TomlTable, path: string, raw: readonly string[]): void {
    const table = TABLES.find((candidate) => candidate.path === path);
    const children = CHILDREN.get(path) ?? [];
    const names = [...Object.keys(table?.rows ?? {}), ...children];
    for (const [name, value] of inOrder(document, names)) {
      const at = [...raw, name];
      const known = match(name, names);
      const full = path === '' ? (known ?? name) : `${path}.${known ?? name}`;
      if (known === undefined) this.unknown(at, full, names);
      else if (full === handlerTable.path) this.named(value, at, (each) => this.handler(each.value, each.name, each.raw));
      else if (full === workloadTable.path) this.named(value, at, (each) => this.workload(each.value, each.name, each.raw));
      else if (children.includes(known)) this.visit(this.table(value, full, at), full, at);
      else if (table?.rows[known] !== undefined) this.values.set(full, this.value(table.rows[known], value, full, at));
    }
  }

  private named(
    value: unknown,
    raw: readonly string[],
    each: (entry: { value: unknown; name: string; raw: readonly string[] }) => void,
  ): void {
    const path = raw.join('.');
    for (const [name, inner] of Object.entries(this.table(value, path, raw))) each({ value: inner, name, raw: [...raw, name] });
  }

  private handler(value: unknown, name: string, raw: readonly string[]): void {
    this.runtimes.set(name, handlerOf(this.rows(handlerTable, value, `${handlerTable.path}.${name}`, raw, [])));
  }

  private workload(value: unknown, name: string, raw: readonly string[]): void {
    const path = `${workloadTable.path}.${name}`;
    const values = this.rows(workloadTable, value, path, raw, ['resources']);
    const inner = values.get('resources');
    const resources = inner === undefined ? undefined : this.rows(resourcesTable, inner, `${path}.resources`, [...raw, 'resources'], []);
    this.workloads.set(name, {
      ...fieldsOf(workloadTable, (key) => values.get(key) ?? workloadTable.rows[key].initial),
      resources: resources && fieldsOf(resourcesTable, (key) => resources.get(key) ?? resourcesTable.rows[key].initial),
    });
  }

  /** The keys of one named table; those of `inner` are handed on as they are. */
  private rows(table: Table<Rows>, value: unknown, path: string, raw: readonly string[], inner: readonly string[]): Map<string, unknown> {
    const names = [...Object.keys(table.rows), ...inner];
    const document = this.table(value, path, raw);
    const values = new Map<string, unknown>();
    for (const [name, item] of inOrder(document, names)) {
      const known = match(name, names);
      const row = known === undefined ? undefined : table.rows[known];
      const full = `${path}.${known ?? name}`;
      if (known === undefined) this.unknown([...raw, name], full, names);
      else values.set(known, row === undefined ? item : this.value(row, item, full, [...raw, name]));
    }
    return values;
  }

  private value(row: Row<unknown>, value: unknown, key: string, raw: readonly string[]): unknown {
    const parsed = row.codec.fromToml(value);
    if (!parsed.ok) throw this.refusal(parsed.problem, key, raw, row.codec.expects);
    this.given.push({ key, line: this.lineOf(raw), honoured: row.honoured });
    return parsed.value;
  }

  private table(value: unknown, key: string, raw: readonly string[]): TomlTable {
    if (isTable(value)) return value;
    throw this.refusal(`type mismatch for ${key}: expected table but found ${tomlTypeOf(value)}`, key, raw, `a table, [${key}]`);
  }

  private refusal(problem: string, key: string, raw: readonly string[], expects: string): Failure {
    const line = this.lineOf(raw);
    return new Failure(
      'InvalidArgument',
      `unable to decode configuration ${this.file}: toml: line ${line} (last key "${raw.join('.')}"): ${problem}`,
      {
        advice: `Line ${line} of ${this.file}: ${key} has to be ${expects}.`,
      },
    );
  }

  private unknown(raw: readonly string[], key: string, names: readonly string[]): void {
    const name = raw.at(-1) ?? '';
    const near = nearest(name, names) ?? elsewhere(name);
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    this.warnings.push(`${this.file}:${this.lineOf(raw)}: unknown configuration key ${key} is ignored${hint}`);
  }
}

/** Names of the tables directly below a table: '' → crio → api, runtime, …. */
const CHILDREN: ReadonlyMap<string, readonly string[]> = childrenOf([
  ...TABLES.map((table) => table.path),
  handlerTable.path,
  workloadTable.path,
]);

function childrenOf(paths: readonly string[]): Map<string, string[]> {
  const children = new Map<string, string[]>();
  for (const path of paths) {
    const dot = path.lastIndexOf('.');
    const parent = dot < 0 ? '' : path.slice(0, dot);
    children.set(parent, [...(children.get(parent) ?? []), path.slice(dot + 1)]);
  }
  return children;
}

/** The same name in another table: `log_level` below [crio] belongs to [crio.runtime]. */
function elsewhere(name: string): string | undefined {
  return ROWS.find(({ key }) => key.endsWith(`.${name.toLowerCase()}`))?.key;
}

/** Names match whatever their case, exact ones win [B7]. */
function match(name: string, names: readonly string[]): string | undefined {
  return names.includes(name) ? name : names.find((known) => known.toLowerCase() === name.toLowerCase());
}

/** Exact names last, so that they have the last word over those that differ in case. */
function inOrder(document: TomlTable, names: readonly string[]): [string, unknown][] {
  const entries = Object.entries(document);
  return [...entries.filter(([name]) => !names.includes(name)), ...entries.filter(([name]) => names.includes(name))];
}

/** The document as smol-toml gives it, integers as bigint. Failure (InvalidArgument) with the line where it breaks. */
export function parseToml(toml: string, file: string): TomlTable {
  try {
    return parse(toml, { integersAsBigInt: true, maxDepth: 100 });
  } catch (error) {
    const why = (textOf(error).split('\n')[0] ?? '').replace(/^Invalid TOML document: /, '');
    const line = error instanceof TomlError ? error.line : 1;
    throw new Failure('InvalidArgument', `unable to decode configuration ${file}: toml: line ${line}: ${why}`, {
      advice: `Line ${line} of ${file} is no valid TOML: correct it, or move the file away.`,
      cause: error,
    });
  }
}
