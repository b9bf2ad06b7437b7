import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../errors/index.ts';
import { Creations } from './creations.ts';

test('[D16] work goes on when its client leaves, and the retry with the same name gets its result', async () => {
  const creations = new Creations<string>();
  const finish = Promise.withResolvers<string>();
  const client = new AbortController();
  let started = 0;
  const work = async () => {
    started++;
    return await finish.promise;
  };
  const first = creations.join('pod', work, client.signal);
  client.abort(new Failure('DeadlineExceeded', 'context deadline exceeded'));
  await assert.rejects(first, (error: Failure) => error.kind === 'DeadlineExceeded');
  const retry = creations.join('pod', work, undefined);
  finish.resolve('the id');
  assert.equal(await retry, 'the id');
  assert.equal(started, 1);
});

test('[D22] a client that leaves is told the stage', async () => {
  const creations = new Creations<string>();
  const client = new AbortController();
  const join = creations.join(
    'pod',
    async (progress) => {
      progress.enter('sandbox network creation');
      return await Promise.withResolvers<string>().promise;
    },
    client.signal,
  );
  client.abort(new Failure('DeadlineExceeded', 'context deadline exceeded'));
  await assert.rejects(join, {
    message:
      'kubelet may be retrying requests that are timing out in CRI-O due to system load. Currently at stage sandbox network creation: context deadline exceeded',
  });
});

test('[D26] of work that has not come to a first stage the stage is unknown', async () => {
  const creations = new Creations<string>();
  const client = new AbortController();
  const join = creations.join('pod', async () => await Promise.withResolvers<string>().promise, client.signal);
  client.abort(new Failure('Canceled', 'context canceled'));
  await assert.rejects(join, /Currently at stage unknown: context canceled$/);
});

test('[D7] the name of a creation that failed is free at once', async () => {
  const creations = new Creations<string>();
  await assert.rejects(creations.join('pod', () => Promise.reject(new Failure('Unknown', 'no')), undefined));
  assert.equal(await creations.join('pod', async () => 'second try', undefined), 'second try');
});
