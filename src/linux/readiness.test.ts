import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DirectoryWatch } from './directory-watch.ts';
import { ProcessWatcher } from './process-watcher.ts';
import { processStat } from './processes.ts';
import { Readiness } from './readiness.ts';

const readiness = new Readiness();
after(() => readiness.close());
const directory = mkdtempSync(join(tmpdir(), 'crio-ready-'));
after(() => rmSync(directory, { recursive: true }));

/** A process that is not our child: its parent is the shell, which waits for it or not. */
async function stranger(script: string): Promise<{ pid: number; startTime: string }> {
  const shell = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(shell.stdout, 'data')) as [Buffer];
  const pid = Number(line.toString().trim());
  return { pid, startTime: processStat(pid)?.startTime ?? '' };
}

async function keepAlive<T>(promise: Promise<T>): Promise<T> {
  const timer = setTimeout(() => {}, 20_000); // Waiting for descriptors alone keeps no process alive.
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

test('the end of a process that is not a child is an event, and how it ended is told', async () => {
  const watcher = new ProcessWatcher(readiness);
  const kernel = Number(/^(\d+\.\d+)/.exec(readFileSync('/proc/sys/kernel/osrelease', 'utf8'))?.[1]);
  for (const [script, expected] of [
    ['sh -c "sleep 0.2; exit 7" >/dev/null & echo $!; wait', { code: 7 }],
    ['sleep 100 >/dev/null & echo $!; sleep 0.2; kill -9 $!; wait', { signal: 9 }],
    ['sh -c "sleep 0.2; exit 5" >/dev/null & echo $!; exec sleep 1', { code: 5 }], // Nobody waits: a zombie for a second.
  ] as const) {
    const { pid, startTime } = await stranger(script);
    const watched = watcher.watch(pid, startTime);
    assert.ok(watched);
    const began = Date.now();
    await keepAlive(watched.ended);
    assert.ok(Date.now() - began < 900);
    assert.equal(watched.hasEnded, true);
    if (watched.status === undefined) {
      assert.ok(kernel < 6.15 || (await keepAlive(watched.reaped), watched.status !== undefined));
    }
    if (watched.status !== undefined) assert.deepEqual(watched.status, expected);
    await keepAlive(watched.reaped);
  }
});

test('a process that has ended, or another one of its number, is not watched; nothing stays open', async () => {
  const watcher = new ProcessWatcher(readiness);
  const before = readdirSync('/proc/self/fd').length;
  const { pid } = spawnSync('true');
  assert.equal(watcher.watch(pid, '1'), undefined);
  assert.equal(watcher.watch(process.pid, '1'), undefined);
  const mine = processStat(process.pid)?.startTime ?? '';
  for (let n = 0; n < 100; n++) watcher.watch(process.pid, mine)?.close();
  assert.ok(readdirSync('/proc/self/fd').length <= before);
});

test('many ends at once are all told', async () => {
  const watcher = new ProcessWatcher(readiness);
  const children = Array.from({ length: 150 }, () => execFile('cat'));
  const watched = children.map(({ pid = 0 }) => watcher.watch(pid, processStat(pid)?.startTime ?? ''));
  for (const child of children) child.kill('SIGKILL');
  await keepAlive(Promise.all(watched.flatMap((one) => (one === undefined ? [] : [one.reaped]))));
  assert.ok(watched.every((one) => one?.hasEnded === true));
});

test('files that appear are told by name; more than the queue holds are told as an overflow', async () => {
  const seen: string[] = [];
  let overflows = 0;
  const news = () => once(events, 'news');
  const events = new EventTarget();
  const tell = () => events.dispatchEvent(new Event('news'));
  const watch = new DirectoryWatch(readiness, directory, {
    file: (name) => (seen.push(name), tell()),
    overflow: () => (overflows++, tell()),
  });
  const first = news();
  writeFileSync(join(directory, 'written'), '1');
  await keepAlive(first);
  const second = news();
  renameSync(join(directory, 'written'), join(directory, 'renamed'));
  await keepAlive(second);
  assert.deepEqual(seen, ['written', 'renamed']);
  const most = Number(readFileSync('/proc/sys/fs/inotify/max_queued_events', 'utf8'));
  const third = news();
  // Synchronous: nothing is read meanwhile. Equal neighbours would be merged.
  for (let n = 0; n < most / 2 + 10; n++) {
    renameSync(join(directory, 'renamed'), join(directory, 'back'));
    renameSync(join(directory, 'back'), join(directory, 'renamed'));
  }
  await keepAlive(third);
  assert.equal(overflows, 1);
  watch.close();
});
