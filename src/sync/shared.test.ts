import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedMutex } from './shared.ts';

test('many share, one is alone, and whoever waits longer goes first', async () => {
  const lock = new SharedMutex();
  const order: string[] = [];
  const first = await lock.shared();
  const second = await lock.shared();
  const alone = lock.exclusive().then((held) => (order.push('alone'), held));
  const late = lock.shared().then((held) => (order.push('late'), held));
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  await Promise.resolve();
  assert.deepEqual(order, []);
  second[Symbol.dispose]();
  const held = await alone;
  assert.deepEqual(order, ['alone']);
  held[Symbol.dispose]();
  (await late)[Symbol.dispose]();
  assert.deepEqual(order, ['alone', 'late']);
  (await lock.exclusive())[Symbol.dispose]();
});
