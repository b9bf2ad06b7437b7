import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Container, type ContainerFacts } from './container.ts';

test('[D175] a container’s process is set once', async () => {
  const stateDirectory = mkdtempSync(join(tmpdir(), 'crio-container-'));
  const facts = { id: 'c', createdAt: 1n, runDirectory: '/run/c', stateDirectory, spec: { ociVersion: '1.0.2', annotations: {} } };
  const container = new Container(facts as unknown as ContainerFacts, { state: { status: 'created' } });
  const processes = { init: { pid: 7, startTime: '70' }, monitor: { pid: 6, startTime: '60' } };
  await container.become({ status: 'created' }, processes);
  await assert.rejects(container.become({ status: 'created' }, { ...processes, init: { pid: 8, startTime: '80' } }), {
    message: 'pid and start time already initialized: 7 70',
  });
  assert.deepEqual(container.init, processes.init);
  assert.match(readFileSync(join(stateDirectory, 'state.json'), 'utf8'), /"initPid":7,"initStartTime":"70"/);
  rmSync(stateDirectory, { recursive: true });
});
