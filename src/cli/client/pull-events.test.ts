import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parsePullEvent } from './pull-events.ts';

const line = (fields: object): string =>
  JSON.stringify({ image: 'docker.io/library/busybox:latest', layer: 'sha256:ab', stage: 'download', bytes: 5, total: 10, ...fields });

it('events of a pull are read, and those of another image or of another form passed over', () => {
  const event = { layer: 'sha256:ab', stage: 'download', bytes: 5, total: 10, from: '', isReused: false };
  for (const name of ['busybox', 'library/busybox', 'docker.io/library/busybox', 'busybox:latest'])
    assert.deepEqual(parsePullEvent(line({}), name), event, name);
  assert.deepEqual(parsePullEvent(line({ image: 'localhost:5000/a/b@sha256:00' }), 'localhost:5000/a/b@sha256:00'), event);
  assert.equal(parsePullEvent(line({ image: 'localhost:5000/a' }), 'a'), undefined);
  assert.equal(parsePullEvent(line({ image: 'busybox:1' }), 'busybox'), undefined);
  assert.equal(parsePullEvent(line({ stage: 'dance' }), 'busybox'), undefined);
  assert.deepEqual(parsePullEvent(line({ from: 'mirror', reused: true }), 'busybox'), { ...event, from: 'mirror', isReused: true });
  assert.equal(parsePullEvent(line({ layer: 5 }), 'busybox'), undefined);
  assert.deepEqual(parsePullEvent(line({ bytes: '5', total: -1 }), 'busybox'), { ...event, bytes: 0, total: 0 });
  for (const bad of ['', 'null', '5', '[', '<html>']) assert.equal(parsePullEvent(bad, 'busybox'), undefined, bad);
});
