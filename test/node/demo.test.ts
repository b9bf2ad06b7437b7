import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { projectRoot } from '../harness/tools.ts';

test('npm run demo shows a whole way of a pod, and leaves nothing', async () => {
  const { promise, resolve } = Promise.withResolvers<{ code: unknown; out: string }>();
  execFile('sh', [join(projectRoot, 'scripts/demo.sh')], { cwd: '/' }, (error, stdout, stderr) => {
    resolve({ code: error?.code ?? 0, out: stdout + stderr });
  });
  const { code, out } = await promise;
  assert.equal(code, 0, out);
  const steps = [
    'crio pull',
    'crio run',
    'crio ps',
    "the pod's address",
    'port 8080',
    'crio logs',
    'crio exec',
    'kill -9',
    'crio stop',
    'crio rm',
    'nothing stayed',
  ];
  const places = steps.map((step) => out.indexOf(step));
  assert.deepEqual(
    places,
    places.toSorted((a, b) => a - b),
    out,
  );
  assert.ok(
    places.every((place) => place >= 0),
    out,
  );
  assert.equal(out.match(/the clock container wrote this at /g)?.length, 2);
  assert.ok(out.split('\n').length < 60, 'it fits on a screen');
});
