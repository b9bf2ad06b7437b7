import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkImports, type Violation } from '../../scripts/check-imports.ts';

const HOUSE = {
  'src/linux/index.ts': "import koffi from 'koffi';\nexport const k = koffi;",
  'src/storage/index.ts': "export { Store } from './store.ts';",
  'src/storage/store.ts': "import { k } from '../linux/index.ts';\nexport class Store { k = k; }",
  'src/pods/index.ts': "import { Store } from '../storage/index.ts';\nexport const s = new Store();",
};

function judge(planted: Readonly<Record<string, string>>): Pick<Violation, 'file' | 'rule'>[] {
  return checkImports(new Map(Object.entries({ ...HOUSE, ...planted }))).map(({ file, rule }) => ({ file, rule }));
}

test('the import check finds nothing in a house that is in order', () => {
  assert.deepEqual(judge({}), []);
});

for (const [what, file, text, rule] of [
  ['against the stream', 'src/storage/x.ts', "import { s } from '../pods/index.ts';", 'direction'],
  ['a type against the stream', 'src/storage/x.ts', "import type { s } from '../pods/index.ts';", 'direction'],
  ['over several lines', 'src/storage/x.ts', "import {\n  s,\n} from '../pods/index.ts';", 'direction'],
  ['a re-export', 'src/storage/x.ts', "export * from '../pods/index.ts';", 'direction'],
  ['a side effect', 'src/storage/x.ts', "import '../pods/index.ts';", 'direction'],
  ['a dynamic import', 'src/storage/x.ts', "const m = await import('../pods/index.ts');", 'direction'],
  ['past the face', 'src/pods/x.ts', "import { Store } from '../storage/store.ts';", 'face'],
  ['past the face of a folder in its own room', 'src/pods/x/y.ts', "import { z } from '../z/z.ts';", 'face'],
  ['koffi outside linux/', 'src/pods/x.ts', "import koffi from 'koffi';", 'owner'],
  ['a process started outside process/', 'src/linux/x.ts', "import { spawn } from 'node:child_process';", 'owner'],
  ['test code', 'src/pods/x.ts', "import { t } from '../../test/harness/node.ts';", 'outside'],
  ['a room without a place', 'src/misc/x.ts', "import { Store } from '../storage/index.ts';", 'unknown room'],
  ['what is not there', 'src/pods/x.ts', "import { y } from './y.ts';", 'missing'],
] as const) {
  test(`the import check bites: ${what}`, () => {
    const folder = { 'src/pods/z/index.ts': '', 'src/pods/z/z.ts': '' };
    assert.deepEqual(judge({ ...folder, [file]: text }), [{ file, rule }]);
  });
}

test('the import check bites: a run-time cycle, told once; types close none', () => {
  const a = "import { b } from './b.ts';\nexport const a = () => b;";
  assert.deepEqual(judge({ 'src/pods/a.ts': a, 'src/pods/b.ts': "import { a } from './a.ts';\nexport const b = a;" }), [
    { file: 'src/pods/a.ts', rule: 'cycle' },
  ]);
  assert.deepEqual(judge({ 'src/pods/a.ts': a, 'src/pods/b.ts': "import type { a } from './a.ts';\nexport const b = 1;" }), []);
});

test('tests beside their source may import what they need', () => {
  assert.deepEqual(
    judge({ 'src/pods/x.test.ts': "import { spawn } from 'node:child_process';\nimport '../../test/harness/node.ts';" }),
    [],
  );
});
