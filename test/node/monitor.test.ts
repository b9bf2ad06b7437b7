import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { findProcesses, processStat } from '../../src/linux/index.ts';
import { createUnderMonitor } from '../../src/oci/monitor/index.ts';
import { NO_FEATURES, type RuntimeHandler } from '../../src/oci/runtime/handler.ts';
import { RuntimePrograms } from '../../src/oci/runtime/programs.ts';

const directory = mkdtempSync(join(tmpdir(), 'crio-monitor-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function program(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

function handler(runtime: string, monitor: string): RuntimeHandler {
  return {
    name: 'test',
    path: runtime,
    programs: new RuntimePrograms(),
    platformPaths: new Map(),
    root: join(directory, 'root'),
    type: 'oci',
    monitorEnv: [],
    monitorPath: monitor,
    monitorCgroup: '',
    createTimeout: 1,
    execCpuAffinity: '',
    minMemory: 0n,
    noSyncLog: false,
    privilegedWithoutHostDevices: false,
    allowedAnnotations: [],
    defaultAnnotations: new Map(),
    seccompProfile: '',
    features: NO_FEATURES,
  };
}

async function create(id: string, runtime: string, monitor: string) {
  const bundle = join(directory, id);
  for (const name of ['exits', 'sockets', id]) mkdirSync(join(directory, name), { recursive: true });
  const request = {
    id,
    name: id,
    cgroupsPath: '',
    bundle,
    persistDir: bundle,
    logPath: join(bundle, 'log'),
    tty: false,
    stdin: false,
    stdinOnce: false,
  };
  const settings = {
    logLevel: 'info',
    logSizeMax: -1,
    logToJournald: false,
    noPivot: false,
    systemdCgroup: false,
    place: () => Promise.resolve(),
  };
  return await createUnderMonitor(handler(runtime, monitor), request, {
    ...settings,
    exitsDir: join(directory, 'exits'),
    attachSocketDir: join(directory, 'sockets'),
  });
}

test('[K12 K35] a runtime that does not come back is given up after the time limit, and neither it nor its monitor works on', async () => {
  const pidFile = join(directory, 'runtime.pid');
  const runtime = program('runc-hangs', `echo $$ > ${pidFile}; exec sleep 1000`);
  await assert.rejects(create('hangs', runtime, '/usr/bin/conmon'), { message: 'create container timeout' });
  const pid = Number(readFileSync(pidFile, 'utf8'));
  for (let tries = 0; tries < 50 && !['Z', undefined].includes(processStat(pid)?.state); tries++) await delay(20);
  assert.ok(['Z', undefined].includes(processStat(pid)?.state), 'the runtime has ended');
  assert.deepEqual(
    findProcesses(new Set(['hangs']), 'NO_SUCH_VARIABLE').filter(({ pid: found }) => processStat(found)?.state !== 'Z'),
    [],
  );
});

test('a monitor that never forks is given up after the same time', async () => {
  const monitor = program('conmon-hangs', 'exec sleep 1000');
  await assert.rejects(create('stuck', '/bin/false', monitor), { message: 'create container timeout' });
});
