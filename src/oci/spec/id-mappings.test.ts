import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostOwner, mappedRoot, toContainer } from './id-mappings.ts';

const range = (containerId: number, hostId: number, length: number) => ({ containerId, hostId, length });
const mappings = { uids: [range(0, 1000, 5), range(10, 500, 2)], gids: [range(0, 2000, 5)] };

test('[F28] ids inside and outside', () => {
  assert.deepEqual(mappedRoot(mappings), { uid: 1000, gid: 2000 });
  assert.equal(mappedRoot(undefined), undefined);
  assert.deepEqual(hostOwner({ uid: 11, gid: 4 }, mappings), { uid: 501, gid: 2004 });
  assert.deepEqual(hostOwner({ uid: 5, gid: 5 }, mappings), { uid: 5, gid: 5 }, 'what is not mapped stays');
  assert.deepEqual(hostOwner({ uid: 11, gid: 4 }, undefined), { uid: 11, gid: 4 });
  assert.deepEqual(
    [1004, 1005, 501].map((id) => toContainer(id, mappings.uids)),
    [4, undefined, 11],
  );
});
