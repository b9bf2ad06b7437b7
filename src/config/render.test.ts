import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'smol-toml';
import { type Config, configOf, defaultConfig, defaultDraft, fieldsOf } from './config.ts';
import { loadConfig } from './load.ts';
import { renderConfig, serializeConfig } from './render.ts';
import { ROWS, type Row, type Rows, TABLES, type Table, handlerTable, resourcesTable, workloadTable } from './schema/index.ts';

function read(toml: string): Config {
  const files = { read: (path: string) => (path === '/x' ? toml : undefined), walk: () => [] };
  const loaded = loadConfig({ args: ['-c', '/x', '-d', ''], env: {}, files, selinux: false });
  assert.deepEqual(loaded.warnings, []);
  return loaded.config;
}

const active = (toml: string) => toml.split('\n').filter((line) => line !== '' && !line.startsWith('#') && !line.startsWith('['));

test('[A180] without configuration the template has no active line but table headers; a changed key stands bare', () => {
  const text = renderConfig(defaultConfig(), { onlyChanged: true });
  assert.deepEqual(active(text), []);
  assert.ok(text.includes('\n# listen = "/var/run/crio/crio.sock"\n'));
  assert.ok(text.includes('\n# [crio.runtime.runtimes.crun]\n'), 'a bare header would empty the built-in handler');
  const changed = read('[crio.api]\nlisten = "/x"\n[crio.runtime]\nhooks_dir = ["/a"]\n');
  assert.deepEqual(active(renderConfig(changed, { onlyChanged: true })), ['listen = "/x"', 'hooks_dir = [', '\t"/a",', ']']);
});

test('without onlyChanged every key stands bare', () => {
  const text = renderConfig(defaultConfig());
  for (const { key } of ROWS) assert.match(text, new RegExp(`^${key.slice(key.lastIndexOf('.') + 1)} = `, 'm'), key);
  assert.equal(serializeConfig(read(text)), serializeConfig(defaultConfig()));
});

test('[A182] tables come in their order, each key behind its explanation', () => {
  const text = renderConfig(defaultConfig());
  const tables = text.split('\n').filter((line) => line.startsWith('['));
  assert.deepEqual(tables, [
    '[crio]',
    '[crio.api]',
    '[crio.runtime]',
    '[crio.runtime.runtimes.crun]',
    '[crio.checkpoint_restore]',
    '[crio.image]',
    '[crio.network]',
    '[crio.metrics]',
    '[crio.tracing]',
    '[crio.nri]',
    '[crio.nri.default_validator]',
    '[crio.stats]',
  ]);
  const lines = text.split('\n');
  for (const [index, line] of lines.entries()) {
    if (/^[a-z_]+ = /.test(line)) assert.match(lines[index - 1] ?? '', /^# \S/, line);
    assert.ok(line.length <= 100 || !line.startsWith('#'), line);
  }
});

test('[A185] keys that the template of CRI-O leaves out are there', () => {
  const text = renderConfig(
    read('[crio.network]\ncni_default_network = "n"\n[crio.runtime]\nbind_mount_prefix = "/p"\n[crio.runtime.workloads.w]\n'),
  );
  for (const line of ['cni_default_network = "n"', 'bind_mount_prefix = "/p"', 'namespaced_auth_dir = "/etc/crio/auth"'])
    assert.ok(text.includes(`\n${line}\n`));
  for (const key of [
    'seccomp_profile',
    'container_create_timeout',
    'exec_cpu_affinity',
    'no_sync_log',
    'stream_websockets',
    'runtime_pull_image',
    'allowed_annotations',
  ]) {
    assert.match(text, new RegExp(`\n${key} = `), key);
  }
});

test('[A186] lists stand one item a line', () => {
  const text = renderConfig(defaultConfig());
  assert.ok(text.includes('\ncdi_spec_dirs = [\n\t"/etc/cdi",\n\t"/var/run/cdi",\n]\n'));
  assert.ok(
    renderConfig(defaultConfig(), { onlyChanged: true }).includes('\n# cdi_spec_dirs = [\n# \t"/etc/cdi",\n# \t"/var/run/cdi",\n# ]\n'),
  );
});

test('[B10] the plain form is indented by two blanks a table, empty optional fields of handlers are left out', () => {
  const text = serializeConfig(
    read('[crio.runtime.runtimes.x]\nruntime_path = "/x"\n[crio.runtime.workloads.w]\nactivation_annotation = "a"\n'),
  );
  assert.match(text, /^\[crio\]\n  root = "\/var\/lib\/containers\/storage"\n/);
  assert.match(text, /\n  \[crio\.api\]\n    grpc_max_send_msg_size = 83886080\n/);
  assert.ok(
    text.includes(
      '\n      [crio.runtime.runtimes.x]\n        runtime_config_path = ""\n        runtime_path = "/x"\n        runtime_type = ""\n        runtime_root = ""\n        no_sync_log = false\n',
    ),
  );
  assert.doesNotMatch(text, /^ +plugin_dir = /m);
  assert.ok(text.includes('    pull_progress_timeout = "0s"\n'));
  assert.doesNotThrow(() => parse(text));
});

/** A value for a row that its codec can write and read back. */
function valueFor(key: string, row: Row<unknown>): fc.Arbitrary<unknown> {
  const text = fc.string({ unit: 'grapheme', maxLength: 12 });
  switch (row.codec.flagType) {
    case 'bool':
      return fc.boolean();
    case 'int':
      return row.codec.expects.includes('0 or more') ? fc.maxSafeNat() : fc.maxSafeInteger();
    case 'duration':
      return fc.integer();
    case 'string slice':
      return fc.uniqueArray(key.endsWith('metrics_collectors') ? fc.constantFrom('operations_total', 'x') : text, { maxLength: 3 });
    case 'string':
      if (row.codec.zero instanceof Map) return fc.array(fc.tuple(text, text), { maxLength: 3 }).map((entries) => new Map(entries));
      // Empty means "as before" for some keys of [crio], so it is not asked of them.
      return row.merge === undefined ? text : text.filter((value) => value !== '');
    default:
      return row.codec.flagType satisfies never;
  }
}

function recordFor<R extends Rows>(table: Table<R>): fc.Arbitrary<Map<string, unknown>> {
  const entries = Object.entries(table.rows).map(([name, row]) => valueFor(name, row).map((value): [string, unknown] => [name, value]));
  return fc.tuple(...entries).map((all) => new Map(all));
}

const fields = <R extends Rows>(table: Table<R>, values: Map<string, unknown>) => fieldsOf(table, (name) => values.get(name));
const handler = recordFor(handlerTable).map((values) => fields(handlerTable, values));
const workload = fc
  .tuple(recordFor(workloadTable), fc.option(recordFor(resourcesTable), { nil: undefined }))
  .map(([values, inner]) => ({ ...fields(workloadTable, values), resources: inner && fields(resourcesTable, inner) }));

const anyConfig: fc.Arbitrary<Config> = fc
  .tuple(
    fc.tuple(
      ...TABLES.map((table) =>
        recordFor(table).map((values) => [...values].map(([name, value]): [string, unknown] => [`${table.path}.${name}`, value])),
      ),
    ),
    fc.subarray(ROWS.map(({ key }) => key)),
    fc.dictionary(fc.string({ unit: 'grapheme' }), handler, { maxKeys: 2 }),
    fc.dictionary(fc.string({ unit: 'grapheme' }), workload, { maxKeys: 2 }),
  )
  .map(([tables, changed, handlers, workloads]) => {
    const draft = defaultDraft();
    for (const [key, value] of tables.flat()) if (changed.includes(key)) draft.values.set(key, value);
    for (const [name, each] of Object.entries(handlers)) draft.runtimes.set(name, each);
    for (const [name, each] of Object.entries(workloads)) draft.workloads.set(name, each);
    return configOf(draft);
  });

for (const onlyChanged of [true, false]) {
  test(`whatever the configuration, its template reads back as the same (onlyChanged: ${onlyChanged})`, () => {
    fc.assert(
      fc.property(anyConfig, (config) => {
        assert.deepEqual(read(renderConfig(config, { onlyChanged })), config);
      }),
      { numRuns: 60 },
    );
  });
}

test('whatever the configuration, its plain form reads back as the same', () => {
  fc.assert(
    fc.property(anyConfig, (config) => {
      assert.equal(serializeConfig(read(serializeConfig(config))), serializeConfig(config));
    }),
    { numRuns: 60 },
  );
});
