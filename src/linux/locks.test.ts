import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { posixLocker } from '../../test/harness/posix-lock.ts';
import { BlockingCalls, tryLockFile, unlockFile } from './index.ts';

const dir = mkdtempSync(join(tmpdir(), 'crio-locks-'));
after(() => rmSync(dir, { recursive: true }));
const open = (name: string) => openSync(join(dir, name), constants.O_RDWR | constants.O_CREAT, 0o644);

test('[J10] shared locks share, exclusive ones exclude, an unlock lets the next one in', () => {
  const [a, b] = [open('modes'), open('modes')];
  assert.ok(tryLockFile(a, 'shared'));
  assert.ok(tryLockFile(b, 'shared'));
  assert.ok(!tryLockFile(b, 'exclusive'));
  unlockFile(a);
  assert.ok(tryLockFile(b, 'exclusive'));
  assert.ok(!tryLockFile(a, 'shared'));
  closeSync(open('modes'));
  assert.ok(!tryLockFile(a, 'shared'), 'closing another descriptor of the file drops no lock');
  closeSync(a);
  closeSync(b);
});

test('[J10] another process with a POSIX record lock is waited for, and fs.promises go on meanwhile', async () => {
  const waiters = new BlockingCalls();
  const fd = open('posix');
  const [program, ...args] = posixLocker(join(dir, 'posix'));
  const holder = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  assert.ok(!tryLockFile(fd, 'shared'));
  let taken = false;
  const waiting = Array.from({ length: 6 }, () => open('posix')).map(async (other) => {
    await waiters.lockFile(other, 'exclusive');
    taken = true;
    closeSync(other);
  });
  await Promise.all(Array.from({ length: 20 }, async () => (await import('node:fs/promises')).stat(dir)));
  assert.equal(taken, false);
  holder.stdin.end();
  await Promise.all(waiting);
  closeSync(fd);
  await waiters.close();
});

test('closing ends waits, and a process that exits while it waits does not hang', async () => {
  const [a, b] = [open('close'), open('close')];
  assert.ok(tryLockFile(a, 'exclusive'));
  const waiters = new BlockingCalls();
  const wait = assert.rejects(waiters.lockFile(b, 'exclusive'), { kind: 'Canceled' });
  await waiters.close();
  await wait;
  const program = `
    const { BlockingCalls } = await import(${JSON.stringify(new URL('./index.ts', import.meta.url).href)});
    const fd = (await import('node:fs')).openSync(${JSON.stringify(join(dir, 'close'))}, 'r+');
    new BlockingCalls().lockFile(fd, 'exclusive').catch(() => {});
    setTimeout(() => process.exit(7), 300);`;
  const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { timeout: 10_000 });
  assert.equal(status, 7);
  closeSync(a);
  closeSync(b);
});

test('what was written is flushed without blocking the main thread', async () => {
  const calls = new BlockingCalls();
  await calls.syncFileSystem(dir);
  await assert.rejects(calls.syncFileSystem(join(dir, 'missing')));
  await calls.close();
});
