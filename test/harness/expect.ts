import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { type ServiceError, status } from '@grpc/grpc-js';

/** Expects that a call is refused with this gRPC code and exactly this text (or one that matches). */
export async function refused(call: Promise<unknown>, code: keyof typeof status, text: string | RegExp): Promise<void> {
  await assert.rejects(call, (error: ServiceError) => {
    if (typeof text === 'string') assert.equal(error.details, text);
    else assert.match(error.details, text);
    assert.equal(status[error.code], code);
    return true;
  });
}

/** The one element of a list that must have no more and no less. */
export function only<T>(list: readonly T[]): T {
  assert.equal(list.length, 1);
  const [first] = list;
  assert.ok(first !== undefined);
  return first;
}

/** Until `look` answers true; for what no event tells. Fails after half a minute, with what `look` was about. */
export async function eventually(what: string, look: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (await look()) return;
    await delay(50);
  }
  assert.fail(`not within 30 s: ${what}`);
}
