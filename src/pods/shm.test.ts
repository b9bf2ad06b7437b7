import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shmSize } from './shm.ts';

test('[D51, P15] /dev/shm has 64 MiB, or what the annotation says as a Kubernetes quantity', () => {
  assert.equal(shmSize(new Map()), 67108864n);
  assert.equal(shmSize(new Map([['shm-size.crio.io', '128Mi']])), 134217728n);
  assert.equal(shmSize(new Map([['shm-size.crio.io', '1.5k']])), 1500n);
  assert.equal(shmSize(new Map([['io.kubernetes.cri-o.ShmSize', '1Gi']])), 1073741824n);
  assert.throws(() => shmSize(new Map([['shm-size.crio.io', 'much']])), { message: /^failed to parse shm size 'much': / });
  assert.throws(() => shmSize(new Map([['shm-size.crio.io', '0']])), { message: 'shm size 0 must be greater than 0' });
});
