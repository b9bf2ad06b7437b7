import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crunMapsIds, parseFeatures } from './features.ts';

test('[K18] a crun without a features command is judged by its version', () => {
  for (const [text, expected] of [
    ['crun version 1.8.1\ncommit: x\n', true],
    ['crun version 1.8\n', false],
    ['crun version 1.8.5\n', true],
    ['crun version 0.20.1\n', false],
    ['crun version 2.0\n', true],
    ['crun version UNKNOWN\n', false],
    ['runc version 1.9.0\n', false],
  ] as const)
    assert.equal(crunMapsIds(text), expected, text);
});

test('[K17 K18] what a runtime does not say of itself is off', () => {
  for (const nonsense of [null, 5, [], {}, { linux: 5, mountOptions: 'rro' }, { linux: { mountExtensions: { idmap: { enabled: 1 } } } }]) {
    const { idmapMounts, recursiveReadOnly } = parseFeatures(nonsense);
    assert.deepEqual([idmapMounts, recursiveReadOnly], [false, false]);
  }
  const { idmapMounts, recursiveReadOnly } = parseFeatures({
    mountOptions: ['rro'],
    linux: { mountExtensions: { idmap: { enabled: true } } },
  });
  assert.deepEqual([idmapMounts, recursiveReadOnly], [true, true]);
});
