import { test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { Failure } from '../errors/index.ts';
import {
  CAPABILITIES,
  type LinuxSeccomp,
  applySeccomp,
  defaultSeccompProfile,
  loadDefaultSeccomp,
  parseSeccompProfile,
  resolveSeccomp,
} from './index.ts';

const target = (capabilities: readonly string[], architecture: 'amd64' | 'arm64' | 's390x' = 'amd64') => ({
  architecture,
  kernelVersion: '6.18.0',
  capabilities: new Set(capabilities),
});

/** Action and errno of each rule that names a syscall. */
function rules(seccomp: LinuxSeccomp | undefined, name: string): unknown[] {
  return (seccomp?.syscalls ?? [])
    .filter((rule) => rule.names.includes(name))
    .map((rule) => [rule.action.replace('SCMP_ACT_', ''), rule.errnoRet, rule.args?.length ?? 0].filter((v) => v !== undefined));
}

const none = applySeccomp(defaultSeccompProfile(), target([]));
const admin = applySeccomp(defaultSeccompProfile(), target(['CAP_SYS_ADMIN']));

test('[G5 G6 G7] unnamed syscalls are not there, dangerous ones refused, ordinary ones allowed', () => {
  assert.deepEqual([none?.defaultAction, none?.defaultErrnoRet], ['SCMP_ACT_ERRNO', 38]);
  assert.deepEqual(rules(none, 'kexec_load'), [['ERRNO', 1, 0]]);
  assert.deepEqual(rules(none, 'openat2'), [['ALLOW', 0]]);
  for (const name of ['io_uring_setup', 'io_uring_enter', 'io_uring_register', 'add_key']) assert.deepEqual(rules(none, name), []);
  const denied = none?.syscalls?.find((rule) => rule.names.includes('uselib'));
  assert.equal(denied?.names.length, 35);
});

test('[G8] personality with five values only', () => {
  assert.equal(rules(none, 'personality').length, 5);
});

test('[G9 G18] rules and architectures of the machine', () => {
  assert.deepEqual(none?.architectures, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']);
  assert.deepEqual(rules(none, 'arch_prctl'), [['ALLOW', 0]]);
  const arm = applySeccomp(defaultSeccompProfile(), target([], 'arm64'));
  assert.deepEqual(arm?.architectures, ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']);
  assert.deepEqual([rules(arm, 'arch_prctl'), rules(arm, 'set_tls')], [[], [['ALLOW', 0]]]);
});

test('[G10 G11 G12] what a capability opens', () => {
  assert.deepEqual(rules(none, 'chroot'), [['ERRNO', 1, 0]]);
  assert.deepEqual(rules(applySeccomp(defaultSeccompProfile(), target(['CAP_SYS_CHROOT'])), 'chroot'), [['ALLOW', 0]]);
  assert.deepEqual([rules(none, 'setns'), rules(admin, 'setns')], [[['ERRNO', 1, 0]], [['ALLOW', 0]]]);
  assert.deepEqual([rules(none, 'bpf'), rules(admin, 'bpf')], [[['ERRNO', 1, 0]], [['ALLOW', 0]]]);
  const both = applySeccomp(defaultSeccompProfile(), target(['CAP_SYS_ADMIN', 'CAP_BPF']));
  assert.deepEqual(rules(both, 'bpf'), [['ALLOW', 0]]);
  const perfmon = applySeccomp(defaultSeccompProfile(), target(['CAP_PERFMON']));
  assert.deepEqual(rules(perfmon, 'perf_event_open'), [['ALLOW', 0]]);
});

test('[G13] sockets to the hypervisor and to the audit log', () => {
  assert.deepEqual(rules(none, 'socket'), [
    ['ERRNO', 1, 1],
    ['ERRNO', 22, 2],
    ['ALLOW', 2],
    ['ALLOW', 1],
  ]);
  const audit = applySeccomp(defaultSeccompProfile(), target(['CAP_AUDIT_WRITE']));
  assert.deepEqual(rules(audit, 'socket'), [
    ['ERRNO', 1, 1],
    ['ALLOW', 1],
  ]);
});

test('[G14 G15 G16] namespaces need CAP_SYS_ADMIN; clone3 then is not there', () => {
  assert.deepEqual(rules(admin, 'clone'), [['ALLOW', 0]]);
  assert.deepEqual(rules(admin, 'unshare'), [['ALLOW', 0]]);
  assert.deepEqual(rules(none, 'unshare'), []);
  assert.deepEqual(rules(none, 'clone3'), [['ERRNO', 38, 0]]);
  assert.equal(rules(none, 'clone').length, 8);
  const free = none?.syscalls?.find((rule) => rule.names.includes('clone') && rule.action === 'SCMP_ACT_ALLOW');
  assert.deepEqual(free?.args, [{ index: 0, value: 0x7e020000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }]);
  const s390 = applySeccomp(defaultSeccompProfile(), target([], 's390x'));
  assert.ok(s390?.syscalls?.filter((rule) => rule.names.includes('clone')).every((rule) => rule.args?.[0]?.index === 1));
});

test('no syscall is allowed and refused by rules without arguments', () => {
  fc.assert(
    fc.property(fc.subarray([...CAPABILITIES]), (caps) => {
      const plain = applySeccomp(defaultSeccompProfile(), target(caps))?.syscalls?.filter((rule) => rule.args === undefined) ?? [];
      const names = plain.flatMap((rule) => rule.names);
      return new Set(names).size === names.length;
    }),
  );
});

test('[G17] forms of profiles that are read, and what is refused', () => {
  const docker = parseSeccompProfile(
    JSON.stringify({
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrno: 'ENOSYS',
      archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }],
      syscalls: [
        { names: ['read'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '4.8' } },
        { name: 'write', action: 'SCMP_ACT_ERRNO', errno: 'EPERM', excludes: { caps: ['CAP_KILL'] } },
        { names: ['old'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '99.0' } },
      ],
    }),
  );
  const seccomp = applySeccomp(docker, target([]));
  assert.deepEqual([seccomp?.defaultErrnoRet, seccomp?.architectures], [38, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86']]);
  assert.deepEqual([rules(seccomp, 'read'), rules(seccomp, 'write'), rules(seccomp, 'old')], [[['ALLOW', 0]], [['ERRNO', 1, 0]], []]);
  assert.deepEqual(rules(applySeccomp(docker, target(['CAP_KILL'])), 'write'), []);
  const plain = {
    defaultAction: 'SCMP_ACT_ALLOW',
    architectures: ['SCMP_ARCH_ARM'],
    syscalls: [{ names: ['a'], action: 'SCMP_ACT_KILL', args: [{ index: 0, value: 1, op: 'SCMP_CMP_EQ' }] }],
  };
  assert.deepEqual(applySeccomp(parseSeccompProfile(JSON.stringify(plain)), target([])), plain);
  for (const [profile, message] of [
    [
      { architectures: ['A'], archMap: [{ architecture: 'A' }] },
      "'architectures' and 'archMap' were specified in the seccomp profile, use either 'architectures' or 'archMap'",
    ],
    [{ syscalls: [{ name: 'a', names: ['b'] }] }, "'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'"],
    [{ defaultErrno: 'EFOO' }, 'unknown errno EFOO'],
  ] as const)
    assert.throws(() => parseSeccompProfile(JSON.stringify(profile)), { message });
});

test('[G19] a profile of nothing is no profile', () => {
  assert.equal(applySeccomp(parseSeccompProfile('{}'), target([])), undefined);
});

test('any JSON is a profile or a Failure', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      try {
        applySeccomp(parseSeccompProfile(text), target([]));
        return true;
      } catch (error) {
        return error instanceof Failure;
      }
    }),
  );
});

test('[G2] the configured default: built in, from a file, fallback for a missing one, failure for a broken one', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'seccomp-'));
  try {
    assert.equal((await loadDefaultSeccomp('')).message, 'Using the internal default seccomp profile');
    const missing = await loadDefaultSeccomp(join(dir, 'none'));
    assert.equal(missing.message, 'Seccomp profile does not exist on disk, fallback to internal default profile');
    assert.equal(missing.profile.defaultErrnoRet, 38);
    const file = join(dir, 'p.json');
    writeFileSync(file, '{"defaultAction":"SCMP_ACT_LOG"}');
    const loaded = await loadDefaultSeccomp(file);
    assert.deepEqual([loaded.message, loaded.profile.defaultAction], [`Successfully loaded seccomp profile "${file}"`, 'SCMP_ACT_LOG']);
    writeFileSync(file, '{');
    await assert.rejects(loadDefaultSeccomp(file), /^Failure: unable to load seccomp profile: decoding seccomp profile failed: /);
    await assert.rejects(loadDefaultSeccomp(dir), /^Failure: unable to load seccomp profile: open seccomp profile: /);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

const settings = { supported: true, runtimeDefault: defaultSeccompProfile(), privilegedProfile: '' };
const request = { field: undefined, deprecated: '', privileged: false, kind: 'container' } as const;

test('[G20 G22 P66 P86] the request decides, and so does what is reported', async () => {
  const reference = async (profileType: number) => {
    const choice = await resolveSeccomp({ ...request, field: { profileType, localhostRef: '' } }, settings);
    return [choice.reference, choice.profile !== undefined];
  };
  assert.deepEqual(await reference(0), ['RuntimeDefault', true]);
  assert.deepEqual(await reference(1), ['Unconfined', false]);
  assert.deepEqual(await resolveSeccomp(request, settings), { reference: '', profile: undefined });
  assert.equal((await resolveSeccomp({ ...request, deprecated: 'runtime/default' }, settings)).reference, 'RuntimeDefault');
});

test('[F56 G21 a17] a local profile that is missing, broken or has no name is an error', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'seccomp-'));
  try {
    const local = (localhostRef: string) => resolveSeccomp({ ...request, field: { profileType: 2, localhostRef } }, settings);
    await assert.rejects(local(''), { message: 'setup seccomp: unable to load local profile "": open : no such file or directory' });
    const file = join(dir, 'p.json');
    await assert.rejects(local(file), {
      message: `setup seccomp: unable to load local profile "${file}": open ${file}: no such file or directory`,
    });
    writeFileSync(file, '[]');
    await assert.rejects(local(file), {
      message:
        'setup seccomp: apply profile from bytes: load local profile: decoding seccomp profile failed: the profile must be an object',
    });
    writeFileSync(file, '{"defaultAction":"SCMP_ACT_LOG"}');
    assert.deepEqual([(await local(file)).reference, (await local(file)).profile?.defaultAction], [file, 'SCMP_ACT_LOG']);
    const privileged = await resolveSeccomp({ ...request, privileged: true }, { ...settings, privilegedProfile: file });
    assert.equal(privileged.reference, file);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('[G23 G24] no seccomp on the host, and privileged containers', async () => {
  const off = { ...settings, supported: false };
  const local = { profileType: 2, localhostRef: '/p' };
  assert.equal((await resolveSeccomp({ ...request, field: local }, off)).reference, 'Unconfined');
  await assert.rejects(resolveSeccomp({ ...request, field: local, kind: 'sandbox' }, off), {
    message: 'setup seccomp: seccomp is not enabled, cannot run with custom profile',
  });
  const choice = await resolveSeccomp({ ...request, privileged: true, field: { profileType: 0, localhostRef: '' } }, settings);
  assert.deepEqual(choice, { reference: 'Unconfined', profile: undefined });
});
