import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { launch } from '../../process/index.ts';
import { pauseProgram } from './program.ts';

test(
  'the built-in pause program waits without using the processor and ends on SIGTERM',
  { skip: process.arch !== 'x64' && 'assembled for x86-64 only' },
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'pause-'));
    const path = join(directory, 'pause');
    try {
      writeFileSync(path, pauseProgram('x64') ?? '', { mode: 0o755 });
      const child = launch([path], { env: {} });
      const sleeping = () => /\) S /.test(readFileSync(`/proc/${child.pid}/stat`, 'utf8'));
      while (!sleeping()) await delay(2);
      child.kill('SIGCHLD'); // Nothing to reap: it goes on waiting.
      child.kill('SIGTERM');
      assert.deepEqual(await child.exited, { code: 0, signal: null });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
);

test('other machines have no built-in pause program', () => {
  assert.equal(pauseProgram('arm64'), undefined);
});
