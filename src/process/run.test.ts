import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { launch } from './launch.ts';
import { run, runOk } from './run.ts';

const timeoutMs = 10_000;

test('a helper gets its arguments, input, environment and directory as they are, and is answered in full', async () => {
  const odd = ['a b', '$HOME', '*', '"', "'", 'ä\n', ''];
  const argv = ['sh', '-c', 'for a; do printf "%s\\0" "$a"; done; cat; env -0; pwd; echo bad >&2; exit 7', 'sh', ...odd] as const;
  const result = await run(argv, { env: { PATH: '/usr/bin:/bin', X: 'y' }, stdin: 'input\0', cwd: '/', timeoutMs });
  assert.equal(result.code, 7);
  assert.equal(result.stderr, 'bad\n');
  const words = result.stdout.toString().split('\0');
  assert.deepEqual(words.slice(0, odd.length), odd);
  assert.equal(words[odd.length], 'input');
  assert.ok(words.includes('X=y'));
  assert.equal(words.at(-1), '/\n');
});

test('a large output and input pass, too large an output is an error', async () => {
  const input = Buffer.alloc(3_000_000, 'x');
  assert.deepEqual((await runOk(['cat'], { stdin: input, timeoutMs })).stdout, input);
  await assert.rejects(run(['cat'], { stdin: input, timeoutMs, maxOutput: 1000 }), { kind: 'ResourceExhausted' });
  assert.equal((await run(['true'], { stdin: input, timeoutMs })).code, 0, 'who does not read its input is judged by its exit code');
});

test('a signal that ends a helper is told; dispositions and mask are the default ones', async () => {
  assert.equal((await run(['sh', '-c', 'kill -TERM $$'], { timeoutMs })).signal, 'SIGTERM');
  const status = (await runOk(['cat', '/proc/self/status'], { timeoutMs })).stdout.toString();
  assert.match(status, /SigBlk:\t0+\n/);
  assert.match(status, /SigIgn:\t0+\n/);
});

test('deadline and abort kill the whole group, and nothing is left to be reaped', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'crio-run-'));
  const script = `sleep 991 & echo $! > ${dir}/child; wait`;
  await assert.rejects(run(['sh', '-c', script], { timeoutMs: 300 }), { kind: 'DeadlineExceeded' });
  const child = readFileSync(join(dir, 'child'), 'utf8').trim();
  for (let tries = 0; existsSync(`/proc/${child}`) && tries < 100; tries++) {
    if (readFileSync(`/proc/${child}/stat`, 'utf8').includes(') Z ')) break; // its new parent reaps it when it likes
    await delay(10);
  }
  const reason = new Error('enough');
  const stop = new AbortController();
  const aborted = run(['sleep', '992'], { timeoutMs, signal: stop.signal });
  stop.abort(reason);
  await assert.rejects(aborted, reason);
  const zombies = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim();
  assert.equal(zombies, '');
  rmSync(dir, { recursive: true });
});

test('a grandchild that left the group and holds the output does not keep the caller', async () => {
  const started = performance.now();
  const escaped = run(['sh', '-c', 'setsid sleep 3 & exit 0'], { timeoutMs: 300 });
  await assert.rejects(escaped, { kind: 'DeadlineExceeded' });
  assert.ok(performance.now() - started < 2000);
});

test('what cannot be run is said with its errno, and no descriptor stays open', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'crio-run-'));
  writeFileSync(join(dir, 'plain'), 'x', { mode: 0o644 });
  await run(['true'], { timeoutMs });
  const before = readdirSync('/proc/self/fd').length;
  await assert.rejects(run(['no-such-program'], { timeoutMs }), { kind: 'FailedPrecondition', code: 'ENOENT' });
  await assert.rejects(run([join(dir, 'plain')], { timeoutMs }), { kind: 'FailedPrecondition', code: 'EACCES' });
  await assert.rejects(run(['echo', 'a\0b'], { timeoutMs }), { kind: 'InvalidArgument' });
  for (let i = 0; i < 20; i++) await run(['true'], { timeoutMs });
  assert.ok(readdirSync('/proc/self/fd').length <= before);
  rmSync(dir, { recursive: true });
});

test('helpers and launched children side by side each get their own end', async () => {
  const all = Array.from({ length: 12 }, async (_, index) => {
    if (index % 2 === 0) return (await run(['sh', '-c', `exit ${index}`], { timeoutMs })).code;
    const child = launch(['/bin/sh', '-c', `exit ${index}`], { env: {} });
    return (await child.exited).code;
  });
  assert.deepEqual(
    await Promise.all(all),
    Array.from({ length: 12 }, (_, index) => index),
  );
});

test('a helper that closes its output and goes on is waited for', async () => {
  const started = performance.now();
  assert.equal((await run(['sh', '-c', 'exec >&- 2>&-; sleep 0.2; exit 3'], { timeoutMs })).code, 3);
  assert.ok(performance.now() - started >= 200);
});
