import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labelsMatch } from './labels.ts';

test('[D117] every key of a selector must match exactly; an empty value also matches an absent key', () => {
  const labels = new Map([['app', 'web']]);
  assert.ok(labelsMatch(labels, new Map()));
  assert.ok(labelsMatch(labels, new Map([['app', 'web']])));
  assert.ok(labelsMatch(labels, new Map([['tier', '']])));
  assert.ok(!labelsMatch(labels, new Map([['app', 'we']])));
  assert.ok(
    !labelsMatch(
      labels,
      new Map([
        ['app', 'web'],
        ['tier', 'x'],
      ]),
    ),
  );
});
