import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Flights } from './flights.ts';

describe('flights', () => {
  it('do one piece of work for many callers, and end it only when all have gone', async () => {
    const flights = new Flights<string, number>();
    const { promise, resolve } = Promise.withResolvers<number>();
    let runs = 0;
    let stopped: AbortSignal | undefined;
    const work = (signal: AbortSignal) => {
      runs++;
      stopped = signal;
      return promise;
    };
    const leaving = new AbortController();
    const first = flights.join('k', work, leaving.signal);
    const second = flights.join('k', work);
    leaving.abort(new Error('gone'));
    await assert.rejects(first, /gone/);
    assert.equal(stopped?.aborted, false);
    resolve(7);
    assert.equal(await second, 7);
    assert.equal(runs, 1);
  });

  it('start anew for a caller who comes while deserted work is still being stopped, whose end the last caller awaits', async () => {
    const flights = new Flights<string, string>();
    const leaving = new AbortController();
    const undone = Promise.withResolvers<string>();
    let left = false;
    const first = flights.join('k', () => undone.promise, leaving.signal).finally(() => (left = true));
    const refused = assert.rejects(first, /gone/);
    leaving.abort(new Error('gone'));
    await new Promise(setImmediate);
    assert.equal(await flights.join('k', () => Promise.resolve('anew')), 'anew');
    assert.equal(left, false);
    undone.reject(new Error('stopped'));
    await refused;
  });
});
