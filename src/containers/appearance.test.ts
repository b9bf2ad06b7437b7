import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { type FSWatcher, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { appearanceOf } from './appearance.ts';

const directory = mkdtempSync(join(tmpdir(), 'crio-appearance-'));
after(() => rmSync(directory, { recursive: true }));

function renameTo(path: string): void {
  writeFileSync(`${path}.tmp`, '');
  renameSync(`${path}.tmp`, path);
}

const refusing = () => {
  throw Object.assign(new Error('ENOSPC: System limit for number of file watchers reached'), { code: 'ENOSPC' });
};
const failing = () => {
  const watcher = new EventEmitter() as FSWatcher;
  watcher.close = () => {};
  setImmediate(() => watcher.emit('error', new Error('gone')));
  return watcher;
};

for (const [how, watch] of [
  ['told by a watch', undefined],
  ['looked for where no watch can be had', refusing],
  ['looked for where the watch fails', failing],
] as const) {
  test(`[E87] a log that is opened anew is ${how}`, async () => {
    const path = join(directory, `${how}.log`);
    renameTo(path);
    const appearance = appearanceOf(path, 5000, watch);
    let seen = false;
    void appearance.seen.then(() => (seen = true));
    await new Promise((resolve) => setTimeout(resolve, 120)); // Longer than it takes to look twice.
    assert.equal(seen, false, 'the old file is no answer');
    renameTo(path);
    await appearance.seen;
    appearance.end();
  });
}

test('[E86] a log that is not opened anew is an error that names it', async () => {
  const path = join(directory, 'never.log');
  const appearance = appearanceOf(path, 50);
  await assert.rejects(appearance.seen, { kind: 'DeadlineExceeded', message: `conmon did not open ${path} anew within 50 ms` });
  appearance.end();
});
