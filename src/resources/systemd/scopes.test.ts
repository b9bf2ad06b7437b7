import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, test } from 'node:test';
import { createLogger } from '../../log/index.ts';
import { SystemdStandIn } from '../../../test/harness/systemd-stand-in.ts';
import { SystemdScopes } from './scopes.ts';
import { Reader, Writer } from './wire.ts';

const directory = mkdtempSync(join(tmpdir(), 'crio-bus-'));
after(() => rmSync(directory, { recursive: true }));
let standIn: SystemdStandIn;
let scopes: SystemdScopes;
let lines: string[];

beforeEach(async () => {
  standIn = new SystemdStandIn(directory);
  await standIn.start();
  lines = [];
  scopes = new SystemdScopes(standIn.path, createLogger({ level: 'debug', filter: undefined, write: (line) => void lines.push(line) }));
});
afterEach(async () => {
  await scopes.close();
  await standIn.stop();
});

const request = (n: number) => ({
  unit: `crio-conmon-${n}.scope`,
  slice: 'a.slice',
  pid: 1000 + n,
  cpus: undefined,
  of: 'conmon' as const,
});

test('values are written and read with the alignment of the specification', () => {
  const type = '(ya(sv)tbasi)';
  const value = [
    7,
    [
      ['a', { signature: 'au', value: [1, 2] }],
      ['bc', { signature: 'v', value: { signature: 's', value: 'ä' } }],
    ],
    2n ** 60n,
    true,
    ['x', ''],
    -5,
  ];
  const bytes = new Writer().write(type, value).bytes();
  assert.deepEqual(new Reader(bytes).read(type), value);
  assert.throws(() => new Reader(bytes.subarray(0, 20)).read(type), RangeError);
});

test('[K44] a scope is asked for with its process, its slice and what keeps it from being stopped', async () => {
  await scopes.start({ ...request(1), cpus: [0, 9] });
  const [unit] = standIn.units;
  assert.deepEqual([unit?.name, unit?.mode], ['crio-conmon-1.scope', 'replace']);
  assert.deepEqual(Object.fromEntries([...(unit?.properties ?? [])].map(([name, { value }]) => [name, value])), {
    PIDs: [1001],
    Delegate: true,
    DefaultDependencies: false,
    KillSignal: 13,
    After: ['crio.service'],
    Slice: 'a.slice',
    AllowedCPUs: [1, 2],
  });
  await scopes.start(request(2));
  assert.equal(standIn.units[1]?.properties.has('AllowedCPUs'), false);
});

test('[K45] what systemd refuses, and a job that does not end as done, are told with the unit', async () => {
  standIn.behaviour = (n) => (n === 0 ? { error: 'Access denied' } : { result: 'failed' });
  await assert.rejects(scopes.start(request(1)), {
    message: 'failed to add conmon to systemd sandbox cgroup: start transient unit "crio-conmon-1.scope": Access denied',
  });
  await assert.rejects(scopes.start(request(2)), {
    message: 'error moving conmon with pid 1002 to systemd unit crio-conmon-2.scope: got failed',
  });
});

test('[K45] a job that never ends is given up', async () => {
  standIn.behaviour = () => ({ hang: true });
  const impatient = new SystemdScopes(standIn.path, createLogger({ level: 'debug', filter: undefined, write: () => {} }), 1500);
  await assert.rejects(impatient.start(request(1)), {
    message: 'timed out moving conmon with pid 1001 to systemd unit crio-conmon-1.scope',
  });
  await impatient.close();
});

test('[K46] a bus that is away for a while is waited for', async () => {
  await scopes.start(request(1));
  await standIn.stop();
  const late = scopes.start(request(2));
  await new Promise((resolve) => setTimeout(resolve, 500));
  standIn = new SystemdStandIn(directory);
  await standIn.start();
  await late;
  assert.ok(lines.some((line) => line.includes('The message bus failed while scope crio-conmon-2.scope was made, trying again')));
});

test('[p10] 500 scopes on a bus that delays, loses signals and cuts the connection: all are made, few are under way at once', async () => {
  standIn.cutAfter = 50;
  standIn.behaviour = (n) => ({ delayMs: (n * 7) % 40, loseSignal: n % 50 === 3 });
  await Promise.all(Array.from({ length: 500 }, (_, n) => scopes.start(request(n))));
  assert.equal(new Set(standIn.units.map(({ name }) => name)).size, 500);
  assert.equal(standIn.units.length, 500, 'none was asked for again once it was there');
  assert.ok(standIn.mostAtOnce <= 8, `${standIn.mostAtOnce} jobs at once`);
  assert.ok(standIn.cuts >= 5, `the connection was cut ${standIn.cuts} times`);
});
