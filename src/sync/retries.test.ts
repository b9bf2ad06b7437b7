import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Retries } from './retries.ts';

test('what failed is tried again until it succeeds, and is listed until then', async () => {
  const retries = new Retries({ firstMs: 1, mostMs: 2 });
  const { promise: done, resolve } = Promise.withResolvers<void>();
  let tries = 1;
  const work = async () => {
    tries++;
    if (tries < 4) throw new Error(`no ${tries}`);
    resolve();
  };
  retries.add('k', { what: 'remove x', error: new Error('no 1'), work });
  const [first] = retries.list();
  assert.deepEqual([first?.what, first?.tries, first?.error], ['remove x', 1, 'no 1']);
  assert.ok(retries.has('k'));
  const keep = setInterval(() => {}, 1000); // Retries keep no process alive.
  await done;
  await retries.stop();
  clearInterval(keep);
  assert.equal(tries, 4);
  assert.deepEqual(retries.list(), []);
});

test('a stop waits for the try under way and begins no other', async () => {
  const retries = new Retries({ firstMs: 0, mostMs: 1 });
  const begun = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  let tries = 0;
  retries.add('k', {
    what: 'w',
    error: new Error('no'),
    work: async () => {
      tries++;
      begun.resolve();
      await end.promise;
      throw new Error('still not');
    },
  });
  const keep = setInterval(() => {}, 1000);
  await begun.promise;
  const stopped = retries.stop();
  end.resolve();
  await stopped;
  clearInterval(keep);
  assert.equal(tries, 1);
  assert.equal(retries.list()[0]?.error, 'still not');
});
