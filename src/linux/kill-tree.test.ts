import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { killTree } from './kill-tree.ts';
import { processStat } from './processes.ts';

test('[p13] a process is killed with its children and theirs, also with those that are in a session of their own', async () => {
  const root = spawn('sh', ['-c', 'sh -c "setsid sleep 1000 & echo \\$!; wait" & wait'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = (await once(root.stdout, 'data')) as [Buffer];
  const deep = Number(line.toString('utf8'));
  assert.ok(root.pid !== undefined && processStat(deep) !== undefined);
  const ended = once(root, 'exit');
  killTree(root.pid);
  assert.deepEqual(await ended, [null, 'SIGKILL']);
  for (let tries = 0; tries < 200 && ![undefined, 'Z'].includes(processStat(deep)?.state); tries++) await delay(10);
  assert.ok([undefined, 'Z'].includes(processStat(deep)?.state));
});
