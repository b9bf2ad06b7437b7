// run.ts [--jobs N] [--root DIR] [part of a path…]: runs `npm run check` and every test file, each in a process of its own.
// The last line is `N passed, N failed, N skipped`. A whole run leaves the names of the tests that passed
// in test-results/passed.txt, one a line, for `npm run parity`.
import { spawn } from 'node:child_process';
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { TestLine } from './reporter.ts';
import { unpackedDirs } from './tools.ts';

const options = parseArgs({ options: { jobs: { type: 'string' }, root: { type: 'string' } }, allowPositionals: true });
const root = options.values.root ?? dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** One process to run: a test file, or the checks. */
interface Job {
  readonly name: string;
  readonly argv: readonly string[];
  /** Where the reporter writes; undefined for a job that is one test by itself. */
  readonly report: string | undefined;
  readonly deadlineMs: number;
}

interface Result {
  readonly job: Job;
  readonly tests: readonly TestLine[];
  readonly output: string;
  readonly ms: number;
}

const living = new Set<number>();
/** What one test file compiled the next need not: half a second of each. */
const compiled = mkdtempSync(join(tmpdir(), 'crio-compiled-'));

/** Runs one job in a process group and with a temporary directory of its own, which end with the job or its deadline. */
async function runJob(job: Job): Promise<Result> {
  const began = performance.now();
  const [program = '', ...args] = job.argv;
  // Without node:test's own variable, as this runner may itself run in a test; with the tools that are not installed.
  const { NODE_TEST_CONTEXT: _, ...rest } = process.env;
  const temporary = mkdtempSync(join(tmpdir(), 'crio-test-'));
  const env = { ...rest, TMPDIR: temporary, NODE_COMPILE_CACHE: compiled, PATH: [rest['PATH'] ?? '', ...unpackedDirs].join(':') };
  const child = spawn(program, args, { cwd: root, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const { promise: closed, resolve } = Promise.withResolvers<string>();
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
  child.once('error', (error) => resolve(`cannot be run: ${error.message}`));
  child.once('close', (code, signal) => resolve(signal === null ? `exit status ${code ?? '?'}` : `killed by ${signal}`));
  if (child.pid !== undefined) living.add(child.pid);
  let late = false;
  const deadline = setTimeout(() => {
    late = true;
    endGroup(child.pid);
  }, job.deadlineMs);
  const end = await closed;
  clearTimeout(deadline);
  rmSync(temporary, { recursive: true, force: true });
  if (child.pid !== undefined) living.delete(child.pid);
  const ms = Math.round(performance.now() - began);
  const how = late ? `did not end within ${job.deadlineMs / 1000} s and was killed` : end;
  const text = Buffer.concat(output).toString('utf8');
  return { job, tests: job.report === undefined ? [whole(job, how, ms)] : judged(job, how, ms), output: text, ms };
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function whole(job: Job, how: string, ms: number): TestLine {
  const fine = how === 'exit status 0';
  return { path: [job.name], outcome: fine ? 'passed' : 'failed', ms, text: fine ? '' : how };
}

/** The tests of a file; a file that crashed, hung or tested nothing is one failed test more. */
function judged(job: Job, how: string, ms: number): TestLine[] {
  const lines = job.report !== undefined && existsSync(job.report) ? readFileSync(job.report, 'utf8').split('\n').filter(Boolean) : [];
  const all = lines.map((line) => JSON.parse(line) as TestLine);
  const tests = all.filter((test) => test.outcome !== 'started');
  const file = (text: string): TestLine => ({ path: [job.name], outcome: 'failed', ms, text });
  if (how !== 'exit status 0' && !tests.some((test) => test.outcome === 'failed')) {
    const last = all.at(-1);
    const where = last?.outcome === 'started' ? ` in "${last.path.join(' > ')}"` : '';
    return [...tests, file(`the test file itself failed${where}: ${how}`)];
  }
  return tests.length === 0 ? [file('the file has no test')] : tests;
}

function show(result: Result): void {
  const failed = result.tests.filter((test) => test.outcome === 'failed');
  const word = failed.length > 0 ? 'FAILED' : 'ok    ';
  console.log(`${word} ${result.job.name}  ${result.tests.length} ${result.tests.length === 1 ? 'test' : 'tests'}, ${result.ms} ms`);
  for (const test of result.tests) {
    if (test.outcome === 'skipped') console.log(`  skipped: ${test.path.join(' > ')}: ${test.text}`);
    if (test.outcome === 'failed') console.log(`  failed: ${test.path.join(' > ')}\n${indent(test.text, '      ')}`);
  }
  if (failed.length > 0 && result.output.trim().length > 0) console.log(`  what it printed:\n${indent(result.output.trimEnd(), '      ')}`);
}

function indent(text: string, by: string): string {
  return text
    .split('\n')
    .map((line) => by + line)
    .join('\n');
}

/** Runs the jobs, so many at a time, and shows each when it ends. */
async function runAll(jobs: readonly Job[], atOnce: number, results: Result[]): Promise<void> {
  const waiting = [...jobs];
  const worker = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      const result = await runJob(job);
      results.push(result);
      show(result);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

function testJob(file: string, reports: string, deadlineMs: number): Job {
  const report = join(reports, `${file.replaceAll('/', '_')}.ndjson`);
  const reporter = `--test-reporter=${new URL('./reporter.ts', import.meta.url).href}`;
  return {
    name: file,
    argv: [process.execPath, '--disable-warning=ExperimentalWarning', reporter, `--test-reporter-destination=${report}`, file],
    report,
    deadlineMs,
  };
}

async function main(): Promise<number> {
  const { values, positionals } = options;
  const jobsAtOnce = Number(values.jobs ?? availableParallelism());
  const isWhole = positionals.length === 0;
  const files = globSync(['src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: root })
    .filter((file) => isWhole || positionals.some((part) => file.includes(part)))
    .toSorted((a, b) => a.localeCompare(b));
  const reports = mkdtempSync(join(tmpdir(), 'crio-test-'));
  const results: Result[] = [];
  try {
    if (isWhole)
      await runAll([{ name: 'npm run check', argv: ['sh', 'scripts/check.sh'], report: undefined, deadlineMs: 300_000 }], 1, results);
    const isNode = (file: string) => file.startsWith('test/node/');
    await runAll(
      files.filter((file) => !isNode(file)).map((file) => testJob(file, reports, 180_000)),
      jobsAtOnce,
      results,
    );
    await runAll(
      files.filter(isNode).map((file) => testJob(file, reports, 900_000)),
      jobsAtOnce,
      results,
    );
  } finally {
    for (const dir of [reports, compiled]) rmSync(dir, { recursive: true, force: true });
  }
  const tests = results.flatMap((result) => result.tests);
  const count = (outcome: TestLine['outcome']) => tests.filter((test) => test.outcome === outcome).length;
  if (isWhole) {
    mkdirSync(join(root, 'test-results'), { recursive: true });
    const names = tests.filter((test) => test.outcome === 'passed').map((test) => test.path.join(' > ').replaceAll('\n', ' '));
    writeFileSync(join(root, 'test-results/passed.txt'), names.map((name) => `${name}\n`).join(''));
  }
  for (const result of results.filter(({ tests: own }) => own.some((test) => test.outcome === 'failed')))
    console.log(`failed in ${result.job.name}`);
  console.log(`${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`);
  return count('failed') === 0 && count('passed') > 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    for (const pid of living) endGroup(pid);
    process.exit(130);
  });
}
process.exitCode = await main();
