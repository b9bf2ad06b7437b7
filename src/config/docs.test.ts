/** docs/configuration.md lists what nothing honours yet; the list is that of the schema. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FLAGS } from './flags.ts';
import { ROWS, handlerTable, resourcesTable, rowsOf, workloadTable } from './schema/index.ts';

test('the documentation lists exactly the keys and flags without effect', () => {
  const text = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  const section = text.slice(text.indexOf('<!-- without effect -->'), text.indexOf('<!-- end -->'));
  const listed = [...section.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
  const rows = [...ROWS, ...[handlerTable, workloadTable, resourcesTable].flatMap((table) => rowsOf(table))];
  const keys = rows.flatMap(({ key, row }) => (row.honoured ? [] : [key.replace(/\.(runtimes|workloads)\.(?!NAME)/, '.$1.NAME.')]));
  const flags = FLAGS.flatMap(({ key, row, name }) => (row.honoured || key.includes('.') ? [] : [`--${name}`]));
  assert.deepEqual(listed.toSorted(), [...keys, ...flags].toSorted());
});
