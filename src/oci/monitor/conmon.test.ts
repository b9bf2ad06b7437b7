import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_FEATURES, type RuntimeHandler } from '../runtime/handler.ts';
import { RuntimePrograms } from '../runtime/programs.ts';
import { type MonitorSettings, type MonitoredCreate, monitorArguments } from './conmon.ts';

const handler: RuntimeHandler = {
  name: 'h',
  path: '/no-such-dir/runc',
  programs: new RuntimePrograms(),
  platformPaths: new Map(),
  root: '/run/runc',
  type: 'oci',
  monitorEnv: [],
  monitorPath: '/bin/conmon',
  monitorCgroup: '',
  createTimeout: 240,
  execCpuAffinity: '',
  minMemory: 0n,
  noSyncLog: false,
  privilegedWithoutHostDevices: false,
  allowedAnnotations: [],
  defaultAnnotations: new Map(),
  seccompProfile: '',
  features: NO_FEATURES,
};
const request: MonitoredCreate = {
  id: 'ID',
  name: 'k8s_c',
  cgroupsPath: '',
  bundle: '/b',
  persistDir: '/p',
  logPath: '/l/c.log',
  tty: false,
  stdin: false,
  stdinOnce: false,
};
const settings: MonitorSettings = {
  exitsDir: '/exits',
  attachSocketDir: '/attach',
  logLevel: 'info',
  logSizeMax: -1,
  logToJournald: false,
  noPivot: false,
  systemdCgroup: false,
  place: () => Promise.resolve(),
};
const always =
  '-b /b -c ID --exit-dir /exits -l /l/c.log --log-level info -n k8s_c -P /b/conmon-pidfile -p /b/pidfile --persist-dir /p ' +
  '-r /no-such-dir/runc --runtime-arg --root=/run/runc --socket-dir-path /attach --syslog -u ID';

function more(changes: {
  handler?: Partial<RuntimeHandler>;
  request?: Partial<MonitoredCreate>;
  settings?: Partial<MonitorSettings>;
}): string {
  const args = monitorArguments(
    { ...handler, ...changes.handler },
    { ...request, ...changes.request },
    { ...settings, ...changes.settings },
  );
  const text = args.join(' ');
  assert.ok(text.startsWith(always), text);
  return text.slice(always.length);
}

test('[K28] what conmon always gets, in this order', () => {
  assert.equal(more({}), '');
});

test('[K29] what it gets by condition; a terminal wins over the standard input', () => {
  assert.equal(more({ settings: { systemdCgroup: true } }), ' -s');
  assert.equal(more({ settings: { logSizeMax: 0 } }), ' --log-size-max 0');
  assert.equal(more({ settings: { logSizeMax: 8192 } }), ' --log-size-max 8192');
  assert.equal(more({ handler: { noSyncLog: true } }), ' --no-sync-log');
  assert.equal(more({ settings: { logToJournald: true } }), ' --log-path journald:');
  assert.equal(more({ settings: { noPivot: true } }), ' --no-pivot');
  assert.equal(more({ request: { tty: true, stdin: true } }), ' -t');
  assert.equal(more({ request: { stdin: true } }), ' --leave-stdin-open -i');
  assert.equal(more({ request: { stdin: true, stdinOnce: true } }), ' -i');
  const all = { systemdCgroup: true, logSizeMax: 1, logToJournald: true, noPivot: true };
  assert.equal(
    more({ handler: { noSyncLog: true }, settings: all, request: { tty: true } }),
    ' -s --log-size-max 1 --no-sync-log --log-path journald: --no-pivot -t',
  );
});
