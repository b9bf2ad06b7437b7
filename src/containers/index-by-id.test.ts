import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IdIndex } from './index-by-id.ts';

test('[D9, D10] an item is found by any unique prefix of its id', () => {
  const index = new IdIndex<{ id: string }>();
  for (const id of ['aa11', 'aa22', 'bb33']) index.add({ id });
  assert.deepEqual(index.find('b'), { item: { id: 'bb33' } });
  assert.deepEqual(index.find('aa22'), { item: { id: 'aa22' } });
  assert.deepEqual(index.find('c'), { matches: 0 });
  assert.deepEqual(index.find('aa'), { matches: 2, first: { id: 'aa11' } });
});

test('[D13] lists are newest first', () => {
  const index = new IdIndex<{ id: string }>();
  for (const id of ['1', '2', '3']) index.add({ id });
  index.delete('2');
  assert.deepEqual(index.list(), [{ id: '3' }, { id: '1' }]);
});
