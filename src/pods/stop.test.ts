import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gracePeriods } from './stop.ts';

test("[D96] a pod's containers get a second less than the request has left, half of it when that is short; a pause process at most one", () => {
  assert.deepEqual(gracePeriods(undefined), { containers: 9, infra: 1 });
  assert.deepEqual(gracePeriods(30.9), { containers: 29, infra: 1 });
  assert.deepEqual(gracePeriods(1), { containers: 0.5, infra: 1 });
  assert.deepEqual(gracePeriods(-3), { containers: 0, infra: 0 });
});
