import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../errors/index.ts';
import { decodeStateFile, encodeStateFile } from './state-file.ts';

const recorded = (id: string) =>
  readFileSync(
    new URL(`../../test/fixtures/takeover/fs/var/lib/containers/storage/overlay-containers/${id}/userdata/state.json`, import.meta.url),
    'utf8',
  );

test('[D174] what a CRI-O wrote of a running container is read and written back with every one of its keys', () => {
  const text = recorded('4dc3b8024965c92a214f5cb3dc089d5961f643d2f41144b9b691a84f11428210');
  const json = JSON.parse(text) as Record<string, unknown>;
  const saved = decodeStateFile(text, 'id');
  assert.equal(saved.state.status, 'running');
  assert.deepEqual(saved.init, { pid: json['initPid'], startTime: json['initStartTime'] });
  assert.deepEqual(saved.monitor, json['containerMonitorProcess']);
  const { ociVersion, id, bundle, annotations } = json as {
    ociVersion: string;
    id: string;
    bundle: string;
    annotations: Record<string, string>;
  };
  assert.deepEqual(JSON.parse(encodeStateFile(saved, { ociVersion, id, bundle, annotations })), json);
});

test('[D174] what a CRI-O wrote of a container that ended is read with code and times', () => {
  const text = recorded('e2c70e336d1d4a505dc85116ec66ef24155b90dade425f87c61d5168748b7fee');
  const json = JSON.parse(text) as { exitCode: number; finished: string };
  const { state } = decodeStateFile(text, 'id');
  assert.equal(state.status, 'stopped');
  assert.equal(state.status === 'stopped' && state.exitCode, json.exitCode);
});

test('[D185] a state.json that is no JSON fails with the container named', () => {
  assert.throws(() => decodeStateFile('{"sta', 'abc'), { message: /^error reading container state from disk "abc": / });
});

test('whatever a state.json holds, nothing but a Failure comes out', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      try {
        decodeStateFile(text, 'abc');
      } catch (error) {
        assert.ok(error instanceof Failure);
      }
    }),
  );
});
