import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

// Every gate of `npm run check` must refuse a planted violation: one that refuses nothing guards nothing.

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
let project: string;

before(() => {
  project = mkdtempSync(join(tmpdir(), 'crio-gates-'));
  for (const file of ['.oxlintrc.json', '.oxfmtrc.json', 'tsconfig.json', 'package.json', 'knip.json'])
    cpSync(join(root, file), join(project, file));
  symlinkSync(join(root, 'node_modules'), join(project, 'node_modules'));
});
after(() => rmSync(project, { recursive: true }));

async function gate(tool: string, ...args: string[]): Promise<{ code: number; out: string }> {
  const { promise, resolve } = Promise.withResolvers<{ code: number; out: string }>();
  execFile(process.execPath, [join(root, 'node_modules', tool), ...args], { cwd: project }, (error, stdout, stderr) => {
    resolve({ code: error === null ? 0 : Number(error.code), out: stdout + stderr });
  });
  return await promise;
}

function plant(file: string, text: string): void {
  mkdirSync(dirname(join(project, file)), { recursive: true });
  writeFileSync(join(project, file), text);
}

/** A violation of each rule that .oxlintrc.json names. */
const LINT: Readonly<Record<string, string>> = {
  eqeqeq: 'export const v = (a: unknown) => a == 1;',
  'no-var': 'export var v = 1;',
  'prefer-const': 'export function v(): number { let a = 1; return a; }',
  'max-lines': 'export const v = 1;\n'.repeat(1) + '// line\n'.repeat(600),
  'max-lines-per-function': `export function v(): void {\n${'  console.log();\n'.repeat(70)}}`,
  'import/no-default-export': 'export default 1;',
  'no-unused-vars': 'const v = 1;',
  'typescript/consistent-type-imports': "import { Stats } from 'node:fs';\nexport const v = (s: Stats) => s.size;",
  'typescript/no-floating-promises': "import assert from 'node:assert';\nassert.rejects(async () => {});",
  'typescript/no-explicit-any': 'export const v = (a: any) => String(a);',
  'typescript/no-non-null-assertion': 'export const v = (a?: string) => a!.length;',
  'typescript/only-throw-error': "export function v(): never { throw 'text'; }",
  'typescript/no-unsafe-assignment': "export const v = JSON.parse('');",
  'typescript/no-unsafe-return': "export const v = (): string => JSON.parse('');",
  'typescript/no-unsafe-argument': "export const v = Number.parseInt(JSON.parse(''));",
  'typescript/no-unsafe-call': "export const v: unknown = JSON.parse('')();",
  'typescript/no-unsafe-member-access': "export const v: unknown = JSON.parse('').a;",
  'typescript/prefer-promise-reject-errors': "export const v = Promise.reject('text');",
  'typescript/no-misused-promises': 'export const v = [1].filter(async () => true);',
  'typescript/return-await': 'export async function v(p: Promise<number>): Promise<number> { try { return p; } catch { return 1; } }',
  'typescript/switch-exhaustiveness-check': "export function v(a: 'x' | 'y'): void { switch (a) { case 'x': console.log(); } }",
  'typescript/require-array-sort-compare': 'export const v = [10, 9].toSorted();',
  'typescript/no-unnecessary-type-assertion': 'export const v = (a: string) => a as string;',
  'typescript/ban-ts-comment': '// @ts-ignore\nexport const v: string = 1;',
};

test('each lint rule that the configuration names refuses its violation', async () => {
  const config = JSON.parse(readFileSync(join(root, '.oxlintrc.json'), 'utf8')) as { rules: Record<string, unknown> };
  assert.deepEqual(Object.keys(LINT).toSorted(byText), Object.keys(config.rules).toSorted(byText));
  for (const [rule, text] of Object.entries(LINT)) plant(`src/lint/${rule.replaceAll('/', '-')}.ts`, text);
  const { code, out } = await gate('oxlint/bin/oxlint', '--format=json', 'src');
  const { diagnostics } = JSON.parse(out) as { diagnostics: { code: string; filename: string }[] };
  for (const rule of Object.keys(LINT)) {
    const name = rule.slice(rule.indexOf('/') + 1);
    const bites = diagnostics.some((d) => d.code.endsWith(`(${name})`) && d.filename.endsWith(`${rule.replaceAll('/', '-')}.ts`));
    assert.ok(bites, `${rule} accepted: ${LINT[rule] ?? ''}`);
  }
  assert.notEqual(code, 0);
});

test('the format check refuses what the formatter would change', async () => {
  plant('src/format/x.ts', 'export const x   = "a"');
  const { code, out } = await gate('oxfmt/bin/oxfmt', '--check', 'src/format');
  assert.match(out, /src\/format\/x\.ts/);
  assert.notEqual(code, 0);
});

test('the type check refuses a wrong type', async () => {
  plant('src/types/x.ts', 'export const x: string = [1][0];\n');
  const { code, out } = await gate('typescript/bin/tsc', '-p', '.');
  assert.match(out, /src\/types\/x\.ts\(1,14\): error TS2322/);
  assert.notEqual(code, 0);
});

test('the check for unused code refuses an export and a file that nobody uses', async () => {
  plant('src/cli/main.ts', "import { used } from '../unused/x.ts';\nused();\n");
  plant('src/unused/x.ts', 'export const used = () => 1;\nexport const neverUsed = 2;\n');
  const { code, out } = await gate('knip/bin/knip.js', '--no-progress', '--include', 'exports,files');
  assert.match(out, /neverUsed +src\/unused\/x\.ts/);
  assert.match(out, /src\/format\/x\.ts/);
  assert.notEqual(code, 0);
});

function byText(a: string, b: string): number {
  return a.localeCompare(b);
}
