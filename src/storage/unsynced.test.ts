import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { newHexId } from '../ids/index.ts';
import { silentLogger } from '../log/index.ts';
import { Unsynced } from './unsynced.ts';

const dir = mkdtempSync(join(tmpdir(), 'unsynced-'));
after(() => rmSync(dir, { recursive: true }));
const path = join(dir, 'list');
const listed = () => (existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { boot: string; layers: string[] }) : undefined);

test('[p27] a layer is listed when add settles, and until a sync that began after it has ended', async () => {
  const syncs: PromiseWithResolvers<void>[] = [];
  const sync = () => {
    const next = Promise.withResolvers<void>();
    syncs.push(next);
    return next.promise;
  };
  const unsynced = new Unsynced({ path, sync, log: silentLogger });
  const [first, second, late] = [newHexId(), newHexId(), newHexId()];
  await Promise.all([unsynced.add(first), unsynced.add(second)]);
  assert.deepEqual(listed()?.layers, [first, second]);
  const flushed = unsynced.flush();
  await Promise.resolve();
  await unsynced.add(late);
  assert.deepEqual(listed()?.layers, [first, second, late]);
  syncs[0]?.resolve();
  await flushed;
  assert.deepEqual(listed()?.layers, [late]);
  const again = unsynced.flush();
  await Promise.resolve();
  syncs[1]?.resolve();
  await again;
  assert.equal(listed(), undefined);
  await unsynced.flush();
  assert.equal(syncs.length, 2, 'nothing to make durable');
});

test('[p27] what another boot left is told once; what this boot left is made durable', async () => {
  let syncs = 0;
  const make = () => new Unsynced({ path, sync: async () => void syncs++, log: silentLogger });
  const layer = newHexId();
  await make().add(layer);
  const { boot } = listed() ?? assert.fail('nothing is listed');
  const successor = make();
  assert.deepEqual(await successor.load(), []);
  await successor.flush();
  assert.deepEqual([syncs, listed()], [1, undefined]);
  writeFileSync(path, JSON.stringify({ boot: `not ${boot}`, layers: [layer, 'no id', 1] }));
  const afterCut = make();
  assert.deepEqual(await afterCut.load(), [layer]);
  await afterCut.forget();
  assert.equal(listed(), undefined);
});

test('[p27] of a list that was being written when the power went nothing stays', async () => {
  const unsynced = new Unsynced({ path, sync: async () => {}, log: silentLogger });
  writeFileSync(join(dir, '.tmp-list307655698'), '{');
  writeFileSync(join(dir, '.tmp-list-of-others1'), '');
  assert.deepEqual(await unsynced.load(), []);
  assert.deepEqual(
    readdirSync(dir).filter((name) => name.startsWith('.tmp-')),
    ['.tmp-list-of-others1'],
  );
});
