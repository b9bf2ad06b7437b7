import { test } from 'node:test';
import assert from 'node:assert/strict';
import { type ContainerSpecInput, buildContainerSpec, buildSandboxSpec, chooseOciVersion, planSysctls } from './index.ts';
import { ociMappings } from './namespaces.ts';
import { defaultSeccompProfile } from '../../security/index.ts';
import {
  containerConfig,
  containerInput,
  hostFacts,
  namespaceOption,
  podConfigWith,
  sandboxFacts,
  sandboxInput,
  securityContext,
  specSettings,
} from '../../../test/fixtures/spec-inputs.ts';

const withSecurity = (over: Parameters<typeof securityContext>[0], more: Partial<ContainerSpecInput> = {}) =>
  buildContainerSpec(containerInput({ config: containerConfig({ linux: { securityContext: securityContext(over) } }), ...more })).spec;
const types = (spec: ReturnType<typeof withSecurity>) =>
  spec.linux.namespaces.map(({ type, path }) => `${type}${path === undefined ? '' : `=${path}`}`);

test('[F51 L39] a cgroup namespace of its own on v2 unless privileged', () => {
  const host = hostFacts({ cgroupVersion: 2 });
  assert.ok(types(withSecurity({}, { host })).includes('cgroup'));
  assert.ok(!types(withSecurity({})).includes('cgroup'));
  assert.ok(!types(withSecurity({ privileged: true }, { host, sandbox: sandboxFacts({ privileged: true }) })).includes('cgroup'));
});

test('[F58] namespaces of the pod by path, none for the network of the node', () => {
  const user = '/var/run/userns/u';
  const sandbox = sandboxFacts({ namespaces: { ...sandboxFacts().namespaces, user } });
  assert.deepEqual(types(withSecurity({}, { sandbox })), [
    'pid',
    'network=/var/run/netns/u',
    'ipc=/var/run/ipcns/u',
    'uts=/var/run/utsns/u',
    'mount',
    `user=${user}`,
  ]);
  const network = types(withSecurity({ namespaceOptions: namespaceOption({ network: 2 }) }));
  assert.ok(!network.some((namespace) => namespace.startsWith('network')));
});

test('[F59 F60] PID namespaces, and why one cannot be had', () => {
  const pid = (mode: number, over: Partial<ContainerSpecInput> = {}) =>
    types(withSecurity({ namespaceOptions: namespaceOption({ pid: mode }) }, over))[0];
  assert.equal(pid(1), 'pid');
  assert.equal(pid(2)?.startsWith('network'), true);
  assert.equal(pid(0, { sandbox: sandboxFacts({ infra: { pid: 42 } }) }), 'pid=/proc/42/ns/pid');
  assert.equal(pid(3, { targetPidNamespace: '/var/run/pidns/t' }), 'pid=/var/run/pidns/t');
  assert.throws(() => pid(0), {
    message:
      'pod level PID namespace requested for the container, but pod sandbox was not similarly configured, and does not have an infra container',
  });
  assert.throws(() => pid(0, { sandbox: sandboxFacts({ infra: 'dead' }) }), {
    message: 'PID namespace requested, but sandbox infra container unexpectedly invalid',
  });
  assert.throws(() => pid(3), { message: 'target PID namespace specified with invalid target ID' });
});

test('[F61 G92] the maps of the pod, also when its user namespace is joined', () => {
  const map = [{ containerId: 0, hostId: 100000, length: 65536 }];
  const { linux } = withSecurity({}, { sandbox: sandboxFacts({ idMappings: { uids: map, gids: map } }) });
  assert.deepEqual(
    [linux.uidMappings, linux.gidMappings],
    [[{ containerID: 0, hostID: 100000, size: 65536 }], [{ containerID: 0, hostID: 100000, size: 65536 }]],
  );
});

test('[a12] ten thousand lines of id mappings go no further', () => {
  const lines = Array.from({ length: 10_000 }, (_, n) => ({ containerId: n, hostId: n, length: 1 }));
  assert.throws(() => ociMappings(lines), { kind: 'InvalidArgument' });
});

test('[F49 F50 G72 G73 G74] masked paths: none asked for, none at all; else the union, sorted', () => {
  assert.equal(withSecurity({}).linux.maskedPaths, undefined);
  const host = hostFacts({ thermalThrottlePaths: ['/sys/devices/system/cpu/cpu0/thermal_throttle'] });
  const { linux } = withSecurity({ maskedPaths: ['/proc/kcore', '/custom'], readonlyPaths: ['/proc/sys', '/a'] }, { host });
  assert.deepEqual(linux.maskedPaths, [
    '/custom',
    '/proc/acpi',
    '/proc/asound',
    '/proc/interrupts',
    '/proc/kcore',
    '/proc/keys',
    '/proc/latency_stats',
    '/proc/sched_debug',
    '/proc/scsi',
    '/proc/timer_list',
    '/proc/timer_stats',
    '/sys/devices/system/cpu/cpu0/thermal_throttle',
    '/sys/devices/virtual/powercap',
    '/sys/firmware',
    '/sys/fs/selinux',
  ]);
  assert.deepEqual(linux.readonlyPaths, ['/proc/sys', '/a']);
  const privileged = withSecurity(
    { privileged: true, maskedPaths: ['/x'], readonlyPaths: ['/y'] },
    { sandbox: sandboxFacts({ privileged: true }) },
  );
  assert.deepEqual([privileged.linux.maskedPaths, privileged.linux.readonlyPaths], [undefined, undefined]);
});

test('[F52] read-only root by request or configuration', () => {
  assert.equal(withSecurity({}).root.readonly, undefined);
  assert.equal(withSecurity({ readonlyRootfs: true }).root.readonly, true);
  assert.equal(withSecurity({}, { settings: specSettings({ readOnly: true }) }).root.readonly, true);
});

test('[F104 G76 G80] device rules: deny all first, or one that allows all', () => {
  const node = { path: '/dev/fuse', type: 'c', major: 10, minor: 229 } as const;
  const rule = { allow: true, type: 'c', major: 10, minor: 229, access: 'rwm' };
  const some = withSecurity({}, { devices: { devices: [node], rules: [rule], allowAll: false } }).linux;
  assert.deepEqual([some.resources?.devices, some.devices], [[{ allow: false, access: 'rwm' }, rule], [node]]);
  const all = withSecurity({}, { devices: { devices: [node], rules: [rule], allowAll: true } }).linux;
  assert.deepEqual(all.resources?.devices, [{ allow: true, access: 'rwm' }]);
});

test("[D60 D61 G98 G99 a18 a19 B52] sysctls: known to be namespaced, and not the node's", () => {
  const plan = (requested: [string, string][], over = {}) =>
    planSysctls({ defaults: new Map(), requested: new Map(requested), hostNetwork: false, hostIpc: false, idMappings: undefined, ...over });
  const good: [string, string][] = [
    ['kernel.sem', '1 2 3 4'],
    ['kernel.shmmax', '1'],
    ['kernel.msgmax', '1'],
    ['fs.mqueue.msg_max', '1'],
    ['net.ipv4.ip_local_port_range', '1024 65000'],
    ['net.core.somaxconn', '1+kernel.core_pattern=|/evil'],
    ['net.ipv4.conf.eth0/100.forwarding', '1,2'],
  ];
  assert.deepEqual([...plan(good).sysctls], good);
  assert.deepEqual(
    plan([
      ['kernel.core_pattern', '|x'],
      ['vm.swappiness', '1'],
      ['kernel.semx', '1'],
    ]),
    {
      sysctls: new Map(),
      warnings: [
        'Skipping invalid sysctl specified over CRI {kernel.core_pattern |x}: kernel.core_pattern not whitelisted',
        'Skipping invalid sysctl specified over CRI {vm.swappiness 1}: vm.swappiness not whitelisted',
        'Skipping invalid sysctl specified over CRI {kernel.semx 1}: kernel.semx not whitelisted',
      ],
    },
  );
  assert.match(plan([['net.a', '1']], { hostNetwork: true }).warnings[0] ?? '', /: "net.a" not allowed with host net enabled$/);
  assert.match(plan([['kernel.shmmax', '1']], { hostIpc: true }).warnings[0] ?? '', /: "kernel.shmmax" not allowed with host ipc enabled$/);
  for (const key of ['net.../../kernel/core_pattern', 'net./../kernel.core_pattern', 'net.a b', 'net.', 'net.x\0', 'net.x\n'])
    assert.equal(plan([[key, '1']]).sysctls.size, 0, key);
  for (const value of ['1\n2', '1\0', '1\r']) assert.equal(plan([['net.a', value]]).sysctls.size, 0);
});

test('[D60 G100] the sysctls of the request over those of the configuration', () => {
  const both = planSysctls({
    defaults: new Map([
      ['net.a', 'config'],
      ['net.b', 'config'],
      ['vm.x', '1'],
    ]),
    requested: new Map([['net.a', 'cri']]),
    hostNetwork: false,
    hostIpc: false,
    idMappings: undefined,
  });
  assert.deepEqual(
    [...both.sysctls],
    [
      ['net.a', 'cri'],
      ['net.b', 'config'],
    ],
  );
  assert.deepEqual(both.warnings, ['Skipping invalid sysctl specified by config {vm.x 1}: vm.x not whitelisted']);
});

test('[D62 G101] "every group may ping" in a user namespace ends at its last group', () => {
  const gids = [{ containerId: 0, hostId: 100000, length: 65536 }];
  const ping = (value: string) =>
    planSysctls({
      defaults: new Map(),
      requested: new Map([['net.ipv4.ping_group_range', value]]),
      hostNetwork: false,
      hostIpc: false,
      idMappings: { uids: gids, gids },
    }).sysctls.get('net.ipv4.ping_group_range');
  assert.deepEqual([ping('0 2147483647'), ping('0 100')], ['0 65535', '0 100']);
});

test('[G25 D73] seccomp of the infra process: the profile of the pod, none where the pod is privileged', () => {
  const seccomp = { reference: 'RuntimeDefault', profile: defaultSeccompProfile() };
  assert.equal(buildSandboxSpec(sandboxInput({ seccomp })).spec.linux.seccomp?.defaultErrnoRet, 38);
  assert.equal(buildSandboxSpec(sandboxInput({ seccomp, privileged: true })).spec.linux.seccomp, undefined);
});

test('[D46 I84] the command of the infra container', () => {
  const args = (pauseCommand: string, entrypoint: string[], cmd: string[]) =>
    buildSandboxSpec(sandboxInput({ pauseCommand, pause: { entrypoint, cmd, stopSignal: '' } })).spec.process.args;
  assert.deepEqual(args('/pause', ['/x'], []), ['/pause']);
  assert.deepEqual(args('', ['/x'], ['y']), ['/x', 'y']);
  assert.throws(() => args('', [], []), {
    message: 'unable to run pause image "registry.k8s.io/pause:3.10.1": neither Cmd nor Entrypoint specified',
  });
});

test('the infra container of a pod in the PID namespace of the node has none of its own', () => {
  const config = podConfigWith({}, { pid: 2 });
  assert.ok(!buildSandboxSpec(sandboxInput({ config })).spec.linux.namespaces.some(({ type }) => type === 'pid'));
});

test('a specification version that the runtime knows', () => {
  assert.equal(chooseOciVersion(undefined), '1.0.2');
  assert.equal(chooseOciVersion('1.0.2-dev'), '1.0.2-dev');
  assert.equal(chooseOciVersion('1.2.1'), '1.2.1');
  assert.equal(chooseOciVersion('1.3.0'), '1.3.0');
  assert.equal(chooseOciVersion('1.10.0'), '1.3.0');
  assert.equal(chooseOciVersion('nonsense'), '1.0.2');
});
