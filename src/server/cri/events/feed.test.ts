import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Failure } from '../../../errors/index.ts';
import { EventFeed } from './feed.ts';

const event = (text: string) => Buffer.from(text);
const never = new AbortController().signal;

async function next(events: AsyncGenerator<Buffer, undefined>): Promise<string> {
  return (await events.next()).value?.toString('utf8') ?? 'the end';
}

test('each subscriber gets every event once and in order, at its own pace', async () => {
  const feed = new EventFeed();
  const [fast, slow] = [feed.subscribe(never), feed.subscribe(never)];
  const [first, other] = [next(fast), next(slow)];
  feed.publish(event('a'));
  assert.equal(await first, 'a');
  feed.publish(event('b'));
  assert.equal(await next(fast), 'b');
  feed.publish(event('c'));
  assert.deepEqual([await other, await next(slow), await next(slow)], ['a', 'b', 'c']);
  assert.equal(await next(fast), 'c');
});

for (const [what, limits] of [
  ['events', { events: 3 }],
  ['bytes', { bytes: 3 }],
] as const) {
  test(`[D221] a subscriber for whom too many ${what} wait is cut off and told why; another goes on`, async () => {
    const feed = new EventFeed(limits);
    const [slow, fast] = [feed.subscribe(never), feed.subscribe(never)];
    const begun = [next(slow), next(fast)];
    for (const text of ['1', '2', '3', '4']) {
      feed.publish(event(text));
      await (text === '1' ? Promise.all(begun) : next(fast));
    }
    feed.publish(event('5'));
    assert.equal(await next(fast), '5');
    await assert.rejects(slow.next(), (error: Failure) => error.kind === 'ResourceExhausted');
    assert.deepEqual(await slow.next(), { value: undefined, done: true });
    feed.publish(event('6'));
    assert.equal(await next(fast), '6');
  });
}

test('[D222] of what nobody heard the newest is kept, for a while', async () => {
  const feed = new EventFeed({ events: 2, keepMs: 500 });
  for (const text of ['lost', 'kept', 'too']) feed.publish(event(text));
  const heard = feed.subscribe(never);
  assert.deepEqual([await next(heard), await next(heard)], ['kept', 'too']);
  await heard.return(undefined);
  feed.publish(event('old'));
  await delay(600);
  const later = feed.subscribe(never);
  const awaited = next(later);
  feed.publish(event('new'));
  assert.equal(await awaited, 'new');
});

test('a subscription ends with its signal', async () => {
  const feed = new EventFeed();
  const gone = new AbortController();
  const waiting = feed.subscribe(gone.signal).next();
  gone.abort(new Failure('Canceled', 'context canceled'));
  await assert.rejects(waiting, { message: 'context canceled' });
});
