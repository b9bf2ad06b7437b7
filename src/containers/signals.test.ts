import assert from 'node:assert/strict';
import { test } from 'node:test';
import { signalNumber } from './signals.ts';

test('[D147] a stop signal is known by name, short name and number; empty and unknown ones are SIGTERM', () => {
  assert.equal(signalNumber('SIGINT'), 2);
  assert.equal(signalNumber('quit'), 3);
  assert.equal(signalNumber('9'), 9);
  for (const text of ['', 'SIGNOSUCH', '0', '99', '-1']) assert.equal(signalNumber(text), 15);
});

test('[D148] real-time signals are known in every spelling', () => {
  assert.equal(signalNumber('SIGRTMIN'), 34);
  assert.equal(signalNumber('SIGRTMAX'), 64);
  assert.equal(signalNumber('SIGRTMIN+3'), 37);
  assert.equal(signalNumber('SIGRTMINPLUS3'), 37);
  assert.equal(signalNumber('SIGRTMAX-1'), 63);
  assert.equal(signalNumber('SIGRTMAXMINUS1'), 63);
});
