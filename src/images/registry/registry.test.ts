import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { codeOf, textOf } from '../../errors/index.ts';
import { Slots } from '../pull/slots.ts';
import { parseChallenges } from './challenge.ts';
import { refusal } from './responses.ts';

describe('challenges', () => {
  const read = (header: string) => parseChallenges(header).map(({ scheme, parameters }) => [scheme, ...parameters.entries()]);

  it('are read as RFC 9110 writes them', () => {
    assert.deepEqual(read('Bearer realm="https://a/token",service="a b",scope="repository:x/y:pull,push"'), [
      ['bearer', ['realm', 'https://a/token'], ['service', 'a b'], ['scope', 'repository:x/y:pull,push']],
    ]);
    assert.deepEqual(read('Basic realm="a, \\"b\\"", Bearer realm = x , error=invalid_token'), [
      ['basic', ['realm', 'a, "b"']],
      ['bearer', ['realm', 'x'], ['error', 'invalid_token']],
    ]);
    assert.deepEqual(read('Negotiate, Basic realm="x"'), [['negotiate'], ['basic', ['realm', 'x']]]);
    assert.deepEqual(read('Basic realm="never closed'), [['basic']]);
    assert.deepEqual(parseChallenges(undefined), []);
  });

  it('[a77] end, in linear time, whatever a registry sends', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseChallenges(text)));
    for (const unit of ['a', '=', '"', 'a=b,', 'a ', '\\', ',']) {
      const start = performance.now();
      parseChallenges(`x ${unit.repeat(100_000)}`);
      assert.ok(performance.now() - start < 2000, unit);
    }
  });
});

describe('refusals of a registry', () => {
  const told = (status: number, body: unknown, challengeHeader?: string) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const error = refusal({ status, statusText: 'Text', challengeHeader, body: text });
    return [textOf(error), codeOf(error)];
  };
  const errors = (code: string, message: string) => ({ errors: [{ code, message }] });

  it('[C32, I21] are told in short, with their code', () => {
    assert.deepEqual(told(404, errors('MANIFEST_UNKNOWN', 'manifest unknown')), ['manifest unknown', 'MANIFEST_UNKNOWN']);
    assert.deepEqual(told(404, errors('NAME_UNKNOWN', 'no such thing')), ['name unknown: no such thing', 'NAME_UNKNOWN']);
    assert.deepEqual(told(403, errors('OWN_CODE', 'because')), ['unknown: because', 'UNKNOWN']);
    assert.deepEqual(told(401, 'no json'), ['authentication required', 'UNAUTHORIZED']);
    assert.deepEqual(told(401, '', 'Bearer realm="x",error="insufficient_scope"'), [
      'requested access to the resource is denied',
      'DENIED',
    ]);
    assert.deepEqual(told(401, { details: 'bad password' }), ['unauthorized: bad password', 'UNAUTHORIZED']);
    assert.deepEqual(told(404, `<html>${'x'.repeat(80)}`), [`StatusCode: 404, "<html>${'x'.repeat(44)}..."`, 'HTTP_404']);
    assert.deepEqual(told(503, 'ill'), ['received unexpected HTTP status: 503 Text', 'HTTP_503']);
    assert.deepEqual(told(429, errors('TOOMANYREQUESTS', 'limit')), ['too many requests to registry', 'TOOMANYREQUESTS']);
  });
});

describe('slots', () => {
  it('[p18, I41] bound what runs, let the lightest waiting go first, and forget who leaves', async () => {
    const slots = new Slots(2);
    const order: string[] = [];
    let running = 0;
    let most = 0;
    const piece = (name: string, weight: number, signal = new AbortController().signal) =>
      slots.run(
        { weight },
        async () => {
          most = Math.max(most, ++running);
          order.push(name);
          await new Promise(setImmediate);
          running--;
        },
        signal,
      );
    const leaving = new AbortController();
    const left = assert.rejects(Promise.all([piece('a', 100), piece('b', 100), piece('leaves', 1, leaving.signal)]), /gone/);
    const rest = Promise.all([piece('big', 100), piece('small', 10), piece('big too', 100), piece('small too', 10)]);
    leaving.abort(new Error('gone'));
    await Promise.all([left, rest]);
    assert.deepEqual(order, ['a', 'b', 'small', 'small too', 'big', 'big too']);
    assert.equal(most, 2);
  });

  it('[p18] are lent while nothing comes to work on, by nobody who has ended, and come back', async () => {
    const { signal } = new AbortController();
    const slots = new Slots(2);
    const end = Promise.withResolvers<void>();
    async function* silence(): AsyncGenerator<Buffer> {
      yield await new Promise<never>(() => {});
    }
    const waits = (until: Promise<void>) => slots.run({ weight: 0 }, (slot) => Promise.race([slot.watch(silence()).next(), until]), signal);
    const most = async () => {
      let [running, peak] = [0, 0];
      const piece = async () => {
        peak = Math.max(peak, ++running);
        await new Promise(setImmediate);
        running--;
      };
      await Promise.all([1, 2, 3, 4].map((weight) => slots.run({ weight }, piece, signal)));
      return peak;
    };
    const slow = waits(end.promise);
    await waits(Promise.resolve());
    assert.equal(await most(), 1);
    await delay(1200); // Longer than a registry may be silent.
    assert.equal(await most(), 2);
    end.resolve();
    await slow;
    assert.equal(await most(), 2);
  });
});
