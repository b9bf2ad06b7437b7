import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseIdMaps, parseSubordinateIds } from './ranges.ts';

const map = (containerId: number, hostId: number, size: number) => ({ containerId, hostId, size });
const none = { uids: [], gids: [] };

test('[G87] subordinate ids are those of user containers', () => {
  const text = 'root:1:2\ncontainers:100000:65536\n# containers:1:1\ncontainers:x:1\n containers:300000:10 \ncontainers:5\n';
  assert.deepEqual(parseSubordinateIds(text), [
    { first: 100_000, count: 65_536 },
    { first: 300_000, count: 10 },
  ]);
});

test('[D87 G87 p49] ids that nobody has, in pieces where they are in pieces', () => {
  const subordinate = {
    uids: [{ first: 1000, count: 100 }],
    gids: [
      { first: 5000, count: 20 },
      { first: 4000, count: 5 },
    ],
  };
  const taken = { uids: [map(0, 900, 110), map(0, 1020, 10)], gids: [] };
  const chosen = chooseIdMaps({ size: 20, additional: none }, subordinate, taken);
  assert.deepEqual(chosen.uids, [map(0, 1010, 10), map(10, 1030, 10)]);
  assert.deepEqual(chosen.gids, [map(0, 4000, 5), map(5, 5000, 15)]);
});

test('[D87 G87] additional ids are mapped as they are and count among the size', () => {
  const subordinate = { uids: [{ first: 1000, count: 100 }], gids: [{ first: 1000, count: 100 }] };
  const additional = { uids: [map(5, 77, 1)], gids: [map(0, 1003, 1)] };
  const chosen = chooseIdMaps({ size: 10, additional }, subordinate, none);
  assert.deepEqual(chosen.uids, [map(0, 1000, 5), map(5, 77, 1), map(6, 1005, 4)]);
  assert.deepEqual(chosen.gids, [map(0, 1003, 1), map(1, 1000, 3), map(4, 1004, 6)]);
});

test('[p49] too few ids: says how many are missing, and what to do', () => {
  const subordinate = { uids: [{ first: 1000, count: 100 }], gids: [{ first: 1000, count: 99 }] };
  assert.throws(() => chooseIdMaps({ size: 100, additional: none }, subordinate, none), {
    kind: 'ResourceExhausted',
    message: 'not enough unused IDs in user namespace: 100 are needed, 99 are free',
    advice: /\/etc\/subgid/,
  });
});
