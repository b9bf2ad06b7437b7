/** Holds the schema against the tables of docs/reference: every flag, variable, key and default. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { defaultConfig } from './config.ts';
import { FLAGS, parseGlobalFlags } from './flags.ts';
import { type FileSource } from './files.ts';
import { loadConfig } from './load.ts';
import { serializeConfig } from './render.ts';
import { ROWS } from './schema/index.ts';

const lines = readFileSync(new URL('../../docs/reference/features-1.md', import.meta.url), 'utf8').split('\n');
const cells = (line: string) => line.split(' | ').map((cell) => cell.replace(/^\| |\s*\|$/g, ''));
const noFiles: FileSource = { read: () => undefined, walk: () => [] };

interface FlagRow {
  readonly id: string;
  readonly name: string;
  readonly alias: string | undefined;
  readonly type: string;
  readonly key: string | undefined;
  readonly env: readonly string[];
  readonly initial: string;
  readonly hidden: boolean;
}

/** Rows of §A.2: | A35 | `--name`, `-x` (type): sets `key`; env `NAME` | `default` | */
const FLAG_ROWS: readonly FlagRow[] = lines.flatMap((line) => {
  const [id = '', what = '', initial = ''] = cells(line);
  const match = /^`--([a-z0-9-]+)`(?:, `--?([a-z]+)`)? \((string|bool|int64|int|list|duration)([^)]*)\)/.exec(what);
  if (!/^A\d+$/.test(id) || match === null) return [];
  const [, name = '', alias, type = '', notes = ''] = match;
  const env = what.slice(what.indexOf('; env ')).match(/\b[A-Z][A-Z0-9_]{4,}\b/g) ?? [];
  const set = /sets `([^`]+)`/.exec(what)?.[1];
  const key = set === 'crio.runtime.runtimes.NAME' ? 'runtimes' : set;
  return [{ id, name, alias, type, key, env, initial, hidden: notes.includes('hidden') }];
});

/** Rows whose behaviour is more than the mapping: proven where that is built. */
const NOT_ONLY_A_MAPPING = new Set(['A73', 'A91', 'A94', 'A132', 'A133', 'A134', 'A135', 'A139', 'A140']);

/** Defaults that the reference tells in words. */
const IN_WORDS: Readonly<Record<string, string>> = {
  'cni-plugin-dir': '/opt/cni/bin/',
  'enable-criu-support': 'true',
  'metrics-collectors': '18',
  root: '/var/lib/containers/storage',
  runroot: '/run/containers/storage',
};

const SAMPLES: Readonly<Record<string, readonly [text: string, value: unknown]>> = {
  string: ['some/value', 'some/value'],
  bool: ['true', true],
  int: ['4711', 4711],
  int64: ['4711', 4711],
  duration: ['1m30s', 90_000],
  list: ['crio_one, two', ['one', 'two']],
};

test('the reference has 140 flags and the schema has no other', () => {
  assert.equal(FLAG_ROWS.length, 140);
  assert.deepEqual(FLAGS.map((flag) => flag.name).toSorted(), FLAG_ROWS.map((row) => row.name).toSorted());
});

for (const row of FLAG_ROWS) {
  const title = `--${row.name} and its variable set ${row.key ?? 'the program only'}`;
  test(NOT_ONLY_A_MAPPING.has(row.id) ? title : `[${row.id}] ${title}`, () => checkFlag(row));
}

function checkFlag(row: FlagRow): void {
  const flag = FLAGS.find((candidate) => candidate.name === row.name);
  assert.ok(flag);
  const key = row.key ?? row.name.replaceAll('-', '_');
  assert.equal(flag.key, key);
  assert.equal(flag.row.alias, row.alias);
  assert.deepEqual(flag.row.env ?? [], row.env);
  assert.equal(flag.row.hidden ?? false, row.hidden);
  const [text, value] = SAMPLES[row.type] ?? ['', ''];
  const wanted = row.name === 'metrics-collectors' || row.type !== 'list' ? value : ['crio_one', 'two'];
  for (const name of [row.name, ...(row.alias === undefined ? [] : [row.alias])]) {
    assert.deepEqual(parseGlobalFlags([`--${name}=${text}`], {}).given.get(key)?.value, wanted);
  }
  for (const variable of row.env) {
    assert.deepEqual(parseGlobalFlags([], { [variable]: text }).given.get(key)?.value, wanted);
    const other = row.type === 'bool' ? 'false' : row.type === 'string' || row.type === 'list' ? 'other' : '0';
    assert.deepEqual(parseGlobalFlags([`--${row.name}=${text}`], { [variable]: other }).given.get(key)?.value, wanted, 'the flag wins');
  }
  checkDefault(row, flag.row.codec.toText(flag.row.initial));
}

function checkDefault(row: FlagRow, actual: string): void {
  const words = IN_WORDS[row.name];
  if (words !== undefined) assert.equal(row.name === 'metrics-collectors' ? String(actual.split(',').length) : actual, words);
  else if (row.name !== 'selinux')
    assert.equal(actual, (/^`?([^`(]*?)`?(?: \(.*\)| or .*)?$/.exec(row.initial)?.[1] ?? row.initial).replace(/^(\[\]|""|none)$/, ''));
}

/** Rows of §B.2–B.9: | B25 | `listen` (string): … | `default` | with `a, b` for pairs and `metrics.x` for later tables. */
test('every key of the reference is there with its type', () => {
  const tables = ['crio', 'crio.api', 'crio.runtime', 'crio.image', 'crio.network', 'crio'];
  const known = new Map(ROWS.map(({ key, row }) => [key, row]));
  const seen = new Set<string>();
  let table = '';
  for (const line of lines) {
    const heading = /^### B\.(\d) /.exec(line)?.[1];
    if (line.startsWith('##'))
      table =
        heading === undefined
          ? ''
          : ({ 2: 'crio', 3: 'crio.api', 4: 'crio.runtime', 7: 'crio.image', 8: 'crio.network', 9: 'crio' }[heading] ?? '');
    const match = /^\| B\d+ \| `([a-z_., {}]+)` \((string|bool|int64|int|duration|\[\]string)(?: each)?\)/.exec(line);
    if (match === null || !tables.includes(table)) continue;
    for (const name of expand(match[1] ?? '')) {
      const key = name.startsWith('checkpoint_restore.') ? `crio.${name}` : `${table}.${name}`;
      const row = known.get(key);
      assert.ok(row, key);
      seen.add(key);
      assert.equal(row.codec.flagType, { '[]string': 'string slice', int64: 'int' }[match[2] ?? ''] ?? match[2], key);
    }
  }
  assert.deepEqual(
    [...known.keys()].filter((key) => !seen.has(key)),
    [],
  );
});

/** `metrics.metrics_cert, metrics.metrics_key`, `x_{a,b}_y`. */
function expand(names: string): string[] {
  const braces = /^(.*)\{(.*)\}(.*)$/.exec(names);
  if (braces !== null) return (braces[2] ?? '').split(',').map((middle) => `${braces[1]}${middle}${braces[3]}`);
  return names.split(', ');
}

test('[A2] defaults of flags never overwrite a file', () => {
  const files: FileSource = {
    ...noFiles,
    read: (path) => (path === '/etc/crio/crio.conf' ? '[crio.runtime]\nlog_level = "debug"\n' : undefined),
  };
  assert.equal(loadConfig({ args: [], env: {}, files, selinux: false }).config.runtime.logLevel, 'debug');
});

test('without files, flags and variables the defaults hold', () => {
  const { config, warnings, unhonoured } = loadConfig({ args: [], env: {}, files: noFiles, selinux: false });
  assert.equal(serializeConfig(config), serializeConfig(defaultConfig()));
  assert.deepEqual([warnings, unhonoured], [[], []]);
});
