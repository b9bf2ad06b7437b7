import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createLogger } from '../log/index.ts';
import { Tracer, faultsFrom, step } from './index.ts';

const lines: string[] = [];
const log = createLogger({ level: 'debug', filter: undefined, write: (line) => lines.push(line) });

test('steps stand in each other and side by side, whichever file they are called from', async () => {
  const tracer = new Tracer(log);
  const inner = async () => await step('mount', () => Promise.resolve(1));
  const answer = await tracer.operation('RunPodSandbox', { pod: 'a', name: 'k8s_a' }, async () => {
    const both = await Promise.all([step('storage', inner), step('network', () => step('bridge ADD', () => 2))]);
    await step('network', () => undefined);
    return both;
  });
  assert.deepEqual(answer, [1, 2]);
  const [operation] = tracer.of('a');
  assert.deepEqual(
    operation?.spans.map(({ path, depth }) => [depth, path]),
    [
      [0, 'RunPodSandbox/storage'],
      [1, 'RunPodSandbox/storage/mount'],
      [0, 'RunPodSandbox/network'],
      [1, 'RunPodSandbox/network/bridge ADD'],
      [0, 'RunPodSandbox/network#2'],
    ],
  );
  assert.ok(operation.spans.every(({ startMs, endMs }) => endMs !== undefined && endMs >= startMs));
});

test('an operation under way tells its innermost open step; one that failed keeps its error and the step that failed', async () => {
  const tracer = new Tracer(log);
  const { promise, reject } = Promise.withResolvers<never>();
  const running = tracer.operation('StopPodSandbox', { pod: 'b', name: 'k8s_b' }, () =>
    step('network', () => step('bridge DEL', () => promise)),
  );
  assert.equal(tracer.running()[0]?.current?.step, 'bridge DEL');
  reject(new Error('no such device'));
  await assert.rejects(running, /no such device/);
  assert.deepEqual(tracer.running(), []);
  const [operation] = tracer.of('b');
  assert.equal(operation?.error, 'no such device');
  assert.deepEqual(
    operation.spans.map(({ failed }) => failed),
    [true, true],
  );
});

test('what is kept is bounded: operations of a pod, pods that are gone', async () => {
  const tracer = new Tracer(log);
  const work = () => step('work', () => undefined);
  for (let n = 0; n < 100; n++)
    await tracer.operation(n === 0 ? 'RunPodSandbox' : 'Exit', { pod: 'c', container: String(n), name: 'k8s_c' }, work);
  const kept = tracer.of('c');
  assert.equal(kept.length, 24);
  assert.equal(kept[0]?.name, 'RunPodSandbox');
  assert.equal(kept.at(-1)?.subject.container, '99');
  tracer.forget('c');
  for (let n = 0; n < 16; n++) tracer.forget(`gone-${n}`);
  assert.deepEqual(tracer.of('c'), []);
});

test('a step outside an operation is just its work', async () => {
  assert.equal(await step('alone', () => 3), 3);
});

test('a fault fails the step at its point, once, and every point is written down', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'faults-'));
  const tracer = new Tracer(log, faultsFrom(directory));
  const work = () => tracer.operation('StartContainer', { pod: 'd', name: 'k8s_d' }, () => step('runc start', () => undefined));
  writeFileSync(join(directory, 'at'), 'fail end StartContainer/runc start');
  await assert.rejects(work(), /a test made StartContainer\/runc start fail/);
  await work();
  const passed = readFileSync(join(directory, 'passed'), 'utf8');
  assert.equal(passed, 'begin StartContainer/runc start\nend StartContainer/runc start\n'.repeat(2));
  rmSync(directory, { recursive: true });
});
