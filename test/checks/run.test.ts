import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const runner = join(dirname(dirname(fileURLToPath(import.meta.url))), 'harness/run.ts');
const IMPORT = "import { test, describe, it } from 'node:test';\n";

/** Runs the runner over a project made of these files; answers its exit code, output, and passed.txt. */
async function runProject(files: Readonly<Record<string, string>>): Promise<{ code: number; out: string; passed: string }> {
  const root = mkdtempSync(join(tmpdir(), 'crio-run-'));
  try {
    for (const [name, text] of Object.entries({ 'scripts/check.sh': 'exit 0', ...files })) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), text);
    }
    const { promise, resolve } = Promise.withResolvers<{ code: number; out: string }>();
    execFile(process.execPath, [runner, '--root', root, '--jobs', '2'], (error, stdout) => {
      resolve({ code: error === null ? 0 : Number(error.code), out: stdout });
    });
    const result = await promise;
    return { ...result, passed: readFileSync(join(root, 'test-results/passed.txt'), 'utf8') };
  } finally {
    rmSync(root, { recursive: true });
  }
}

function lastLine(out: string): string | undefined {
  return out.trimEnd().split('\n').at(-1);
}

test('a run that passes ends with its count and names each test with its suites', async () => {
  const files = {
    'src/a.test.ts': `${IMPORT}test('[D1] one', () => {}); describe('of many', () => { it('two', () => {}); });`,
    'test/b.test.ts': `${IMPORT}test('not here', { skip: 'no such kernel' }, () => {});`,
  };
  const { code, out, passed } = await runProject(files);
  assert.equal(lastLine(out), '3 passed, 0 failed, 1 skipped');
  assert.match(out, /skipped: not here: no such kernel/);
  assert.deepEqual(passed.trimEnd().split('\n'), ['npm run check', '[D1] one', 'of many > two']);
  assert.equal(code, 0);
});

for (const [what, text, says] of [
  ['a failing test', "test('bad', () => { throw new Error('why'); });", /failed: bad\n +Error: why/],
  [
    'a file that crashes',
    "test('bad', () => { process.kill(process.pid, 'SIGKILL'); });",
    /the test file itself failed.*killed by SIGKILL/,
  ],
  [
    'a file that passes and exits with an error',
    "test('ok', () => {}); process.exitCode = 3;",
    /the test file itself failed.*exit status 3/,
  ],
  ['a file without a test', '', /the file has no test/],
  ['a syntax error', 'syntax error(', /the test file itself failed/],
  ['a skip without a reason', "test('bad', { skip: true }, () => {});", /failed: bad\n +skipped without a reason/],
  ['a todo', "test('bad', { todo: true }, () => {});", /failed: bad\n +a todo/],
  [
    'a hook that throws',
    "import { before } from 'node:test'; describe('s', () => { before(() => { throw new Error('hook'); }); it('x', () => {}); });",
    /hook/,
  ],
] as const) {
  test(`${what} makes the run fail`, async () => {
    const { code, out } = await runProject({ 'src/bad.test.ts': IMPORT + text });
    assert.match(out, says);
    assert.match(lastLine(out) ?? '', /^[12] passed, [12] failed, 0 skipped$/);
    assert.equal(code, 1);
  });
}

test('failing checks count as a failed test', async () => {
  const { code, out } = await runProject({ 'scripts/check.sh': 'exit 1', 'src/a.test.ts': `${IMPORT}test('one', () => {});` });
  assert.equal(lastLine(out), '1 passed, 1 failed, 0 skipped');
  assert.equal(code, 1);
});
