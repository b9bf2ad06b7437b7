import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { processStat } from '../linux/index.ts';
import { Container, type ContainerFacts } from './container.ts';
import { describeDeadInit, initIsAlive } from './liveness.ts';

function containerOf(pid: number, startTime: string): Container {
  const facts = { id: 'c', runtime: { signalsDirectly: true } };
  const identity = { pid, startTime };
  return new Container(facts as unknown as ContainerFacts, { state: { status: 'created' }, init: identity, monitor: identity });
}

test('[D146] a process is a container’s by its number and its start time, and alive if it is no zombie', async () => {
  const sleeper = spawn('sleep', ['1000']);
  const pid = sleeper.pid ?? 0;
  const { startTime = '' } = processStat(pid) ?? {};
  assert.ok(initIsAlive(containerOf(pid, startTime)));
  const other = containerOf(pid, '1');
  assert.ok(!initIsAlive(other));
  const why = `PID ${pid} is running but has start time of ${startTime}, whereas the saved start time is 1. PID wrap may have occurred`;
  assert.equal(describeDeadInit(other), `checking if PID of c is running failed: ${why}`);
  const ended = new Promise((resolve) => sleeper.once('exit', resolve));
  sleeper.kill('SIGKILL');
  await ended;
  assert.ok(!initIsAlive(containerOf(pid, startTime)));
  assert.equal(describeDeadInit(containerOf(pid, startTime)), 'checking if PID of c is running failed: container process not found');
});
