import { test } from 'node:test';
import assert from 'node:assert/strict';
import { buildContainerSpec, withSecurityContext } from './index.ts';
import type { ContainerSpecInput } from './index.ts';
import {
  containerConfig,
  containerInput,
  hostFacts,
  resources,
  sandboxFacts,
  securityContext,
  specSettings,
} from '../../../test/fixtures/spec-inputs.ts';

const image = { ...containerInput().image, entrypoint: ['/entry', 'x'], cmd: ['c1', 'c2'] };
const build = (over: Partial<ContainerSpecInput> = {}) => buildContainerSpec(containerInput(over)).spec;
const args = (command: string[], extra: string[], over = image) =>
  build({ image: over, config: containerConfig({ command, args: extra }) }).process.args;
const env = (over: Partial<ContainerSpecInput>) => build(over).process.env;

test('[F7 F8] command and args against entrypoint and cmd', () => {
  assert.deepEqual(args(['a'], ['b']), ['a', 'b']);
  assert.deepEqual(args(['a'], []), ['a']);
  assert.deepEqual(args([], ['b']), ['/entry', 'x', 'b']);
  assert.deepEqual(args([], []), ['/entry', 'x', 'c1', 'c2']);
  assert.throws(() => args([], [], { ...image, entrypoint: [], cmd: [] }), { message: 'no command specified', kind: 'Unknown' });
});

test('[F6] a request without security context is root under the default profiles', () => {
  const config = withSecurityContext(containerConfig({ linux: undefined }));
  const security = config.linux?.securityContext;
  assert.deepEqual([security?.runAsUser?.value, security?.runAsGroup?.value, security?.seccomp?.profileType], [0n, 0n, 0]);
  const own = containerConfig();
  assert.equal(withSecurityContext(own), own);
});

test('[F9 F10 F12 F14] each writer of a variable in its order, one entry a key', () => {
  const got = env({
    settings: specSettings({ defaultEnv: ['D=default', 'HOSTNAME=fromDefault', 'B=default'] }),
    config: containerConfig({
      envs: [
        { key: 'B', value: Buffer.from('cri') },
        { key: 'PATH', value: Buffer.from('/cri') },
      ],
    }),
    image: { ...image, env: ['PATH=/image', 'B=image', 'HOSTNAME=fromImage', 'I=image'] },
  });
  assert.deepEqual(got, ['PATH=/cri', 'TERM=xterm', 'HOSTNAME=fromImage', 'D=default', 'B=cri', 'I=image']);
});

test('[F13] an empty key is skipped, and so is an image entry without an equals sign', () => {
  const { spec, warnings } = buildContainerSpec(
    containerInput({
      config: containerConfig({ envs: [{ key: '', value: Buffer.from('x') }] }),
      image: { ...image, env: ['BROKEN', 'A=b'] },
    }),
  );
  assert.deepEqual(spec.process.env.slice(3), ['A=b']);
  assert.equal(warnings.length, 1);
});

test('[F15 a21] a line break in HOME, by whoever set it', () => {
  const message = 'invalid HOME environment; newline not allowed';
  const home = (value: string) => containerConfig({ envs: [{ key: 'HOME', value: Buffer.from(value) }] });
  assert.throws(() => build({ config: home('/\nroot:x:0:0::/:/bin/sh') }), { message });
  assert.throws(() => build({ config: home('/\r') }), { message });
  assert.throws(() => build({ image: { ...image, env: ['HOME=/\nx'] } }), { message });
  assert.throws(() => build({ config: home('/\0') }), { kind: 'InvalidArgument' });
});

test('[a33] nothing of one environment reaches the next', () => {
  const first = build({ config: containerConfig({ envs: [{ key: 'SECRET', value: Buffer.from('x') }] }) });
  first.process.env.push('MORE=1');
  first.mounts[0]?.options?.push('changed');
  const second = build();
  assert.ok(!second.process.env.some((entry) => /SECRET|MORE/.test(entry)));
  assert.ok(!second.mounts[0]?.options?.includes('changed'));
});

test('[F16 a06] working directory: request, image, root; none in a process of the host', () => {
  const cwd = (workingDir: string, ofImage = '') =>
    build({ config: containerConfig({ workingDir }), image: { ...image, workingDir: ofImage } }).process.cwd;
  assert.deepEqual([cwd('/a', '/b'), cwd('', '/b'), cwd(''), cwd('', 'rel')], ['/a', '/b', '/', '/rel']);
  for (const bad of ['/proc/self/fd/7', '/proc/1/cwd', '//proc//self/./fd/9', '/x/../proc/thread-self/fd/3', '/proc/self'])
    assert.throws(() => cwd('', bad), { kind: 'InvalidArgument' }, bad);
});

test('[K66 K67] exec_cpu_affinity: the first CPU of a high-performance container that has CPUs of its own', () => {
  const affinity = (over: Partial<ContainerSpecInput> = {}, cpu: Parameters<typeof resources>[0] = {}) => {
    const linux = { resources: resources({ cpuShares: 2048n, cpusetCpus: '6-7,3,12', ...cpu }), securityContext: securityContext({}) };
    const { spec, warnings } = buildContainerSpec(
      containerInput({
        handler: { name: 'high-performance', execCpuAffinity: 'first' },
        sandbox: sandboxFacts({ cgroupParent: '/kubepods/pod1' }),
        config: containerConfig({ linux }),
        ...over,
      }),
    );
    return warnings[0] ?? spec.process.execCPUAffinity;
  };
  const handler = { name: 'runc', execCpuAffinity: 'first' };
  const annotated = (key: string) => sandboxFacts({ cgroupParent: '/kubepods/pod1', annotations: new Map([[key, 'x']]) });
  assert.deepEqual(affinity(), { initial: '3' });
  assert.deepEqual(affinity({ handler, sandbox: annotated('cpu-quota.crio.io/c') }), { initial: '3' });
  assert.equal(affinity({ handler }), undefined);
  assert.equal(affinity({ handler, sandbox: annotated('cpu.crio.io') }), undefined);
  assert.equal(affinity({ handler: { name: 'high-performance', execCpuAffinity: '' } }), undefined);
  for (const cgroupParent of ['/kubepods/burstable/pod1', '/kubepods-besteffort-pod1.slice'])
    assert.equal(affinity({ sandbox: sandboxFacts({ cgroupParent }) }), undefined);
  assert.equal(affinity({}, { cpuShares: 2047n }), undefined);
  assert.equal(affinity({}, { cpuShares: 0n }), undefined);
  assert.equal(affinity({}, { cpusetCpus: '' }), 'ExecCPUAffinityType first is set, but no CPUSet is available. Falling back to default.');
});

test('[F17 L92 B50] GOMAXPROCS for pods that share CPUs', () => {
  const settings = specSettings({ minInjectedGomaxprocs: 2 });
  const go = (cpu: Parameters<typeof resources>[0], over: Partial<ContainerSpecInput> = {}) =>
    env({ settings, config: containerConfig({ linux: { ...containerConfig().linux, resources: resources(cpu) } }), ...over }).find(
      (entry) => entry.startsWith('GOMAXPROCS'),
    );
  assert.equal(go({ cpuShares: 2560n }), 'GOMAXPROCS=5');
  assert.equal(go({ cpuShares: 2561n }), 'GOMAXPROCS=6');
  assert.equal(go({ cpuShares: 2n }), 'GOMAXPROCS=2');
  assert.equal(go({ cpuShares: 2560n, cpuQuota: 1000n }), undefined);
  assert.equal(go({ cpuShares: 2560n }, { sandbox: sandboxFacts({ cgroupParent: '/kubepods/pod1' }) }), undefined);
  assert.equal(
    go({ cpuShares: 2560n }, { sandbox: sandboxFacts({ annotations: new Map([['skip-gomaxprocs.crio.io', 'true']]) }) }),
    undefined,
  );
  assert.equal(go({ cpuShares: 2560n }, { image: { ...image, env: ['GOMAXPROCS=7'] } }), 'GOMAXPROCS=7');
  assert.equal(go({ cpuShares: 2560n }, { settings: specSettings() }), undefined);
});

test('[F18 G105 P20] umask by annotation', () => {
  const umask = (text: string, key = 'umask.crio.io') =>
    build({ sandbox: sandboxFacts({ annotations: new Map([[key, text]]) }) }).process.user.umask;
  assert.equal(umask('027'), 0o27);
  assert.equal(umask('7', 'io.kubernetes.cri-o.umask'), 7);
  for (const bad of ['8', '', '00022', 'u=rwx']) assert.throws(() => umask(bad), { message: `invalid umask string ${bad}` });
});

test('[F19] a terminal if the request has a tty', () => {
  assert.equal(build({ config: containerConfig({ tty: true }) }).process.terminal, true);
  assert.equal(build().process.terminal, undefined);
});

test('[F41 L41] ulimits of the configuration alone; none means none', () => {
  assert.equal(build().process.rlimits, undefined);
  const defaultUlimits = [
    { name: 'nofile', soft: 1024n, hard: 2048n },
    { name: 'core', soft: 2n ** 64n - 1n, hard: 2n ** 64n - 1n },
  ];
  assert.deepEqual(build({ settings: specSettings({ defaultUlimits }) }).process.rlimits, [
    { type: 'RLIMIT_NOFILE', soft: 1024n, hard: 2048n },
    { type: 'RLIMIT_CORE', soft: 2n ** 64n - 1n, hard: 2n ** 64n - 1n },
  ]);
});

test('[p61] limits above our own are lowered, with a warning where they were asked for', () => {
  const host = hostFacts({ rlimitCeilings: new Map([['RLIMIT_NOFILE', 20000n]]) });
  const asked = specSettings({ defaultUlimits: [{ name: 'nofile', soft: 30000n, hard: 65536n }] });
  const clamped = buildContainerSpec(containerInput({ host, settings: asked }));
  assert.deepEqual(clamped.spec.process.rlimits, [{ type: 'RLIMIT_NOFILE', soft: 20000n, hard: 20000n }]);
  assert.equal(clamped.warnings.length, 1);
  const fallback = buildContainerSpec(
    containerInput({ host, settings: specSettings({ nofileFallback: { soft: 1048576n, hard: 1048576n } }) }),
  );
  assert.deepEqual([fallback.spec.process.rlimits, fallback.warnings], [[{ type: 'RLIMIT_NOFILE', soft: 20000n, hard: 20000n }], []]);
});

test('[F32] oom_score_adj with resources, 0 too; raised to what we may set, refused out of range', () => {
  const oom = (oomScoreAdj: bigint, lowestOomScoreAdj = -1000) =>
    buildContainerSpec(
      containerInput({
        host: hostFacts({ lowestOomScoreAdj }),
        config: containerConfig({ linux: { ...containerConfig().linux, resources: resources({ oomScoreAdj }) } }),
      }),
    );
  assert.equal(oom(0n).spec.process.oomScoreAdj, 0);
  assert.equal(oom(-997n).spec.process.oomScoreAdj, -997);
  assert.equal(build().process.oomScoreAdj, undefined);
  const clamped = oom(-997n, 0);
  assert.deepEqual([clamped.spec.process.oomScoreAdj, clamped.warnings.length], [0, 1]);
  assert.throws(() => oom(1001n), { kind: 'InvalidArgument' });
});

test('[F43 F46 F48 G66 G70 a13] capabilities: sets, ceilings and warnings', () => {
  const caps = (security: Parameters<typeof securityContext>[0], over: Partial<ContainerSpecInput> = {}) =>
    buildContainerSpec(
      containerInput({
        sandbox: sandboxFacts({ privileged: true }),
        config: containerConfig({ linux: { securityContext: securityContext(security) } }),
        ...over,
      }),
    );
  const plain = caps({}).spec.process.capabilities;
  assert.deepEqual([plain?.inheritable, plain?.ambient, plain?.bounding?.length], [undefined, undefined, 9]);
  const ambient = { addCapabilities: [], dropCapabilities: [], addAmbientCapabilities: ['NET_RAW'] };
  assert.equal(caps({ capabilities: ambient }).spec.process.capabilities?.ambient, undefined);
  assert.equal(
    caps({}, { settings: specSettings({ addInheritableCapabilities: true }) }).spec.process.capabilities?.inheritable?.length,
    9,
  );
  const host = hostFacts({ boundingSet: new Set(hostFacts().capabilities.filter((cap) => cap !== 'CAP_SYS_RESOURCE')) });
  const privileged = caps({ privileged: true, noNewPrivs: true }, { host });
  for (const set of ['bounding', 'effective', 'permitted', 'inheritable', 'ambient'] as const)
    assert.deepEqual(privileged.spec.process.capabilities?.[set], [...host.boundingSet]);
  assert.equal(privileged.spec.process.noNewPrivileges, true);
  assert.deepEqual(privileged.warnings, [
    "The daemon may not grant CAP_SYS_RESOURCE: left out of the container's capabilities",
    'Setting `noNewPrivileges` flag has no effect because container is privileged',
    'Setting `noNewPrivileges` flag has no effect because container has CAP_SYS_ADMIN capability',
  ]);
  assert.throws(() => caps({ privileged: true }, { sandbox: sandboxFacts() }), { message: 'no privileged container allowed in sandbox' });
});

test('[F55 G44] no AppArmor profile for privileged containers', () => {
  const over = { apparmorProfile: 'crio-default', sandbox: sandboxFacts({ privileged: true }) };
  assert.equal(build(over).process.apparmorProfile, 'crio-default');
  const config = containerConfig({ linux: { securityContext: securityContext({ privileged: true }) } });
  assert.equal(build({ ...over, config }).process.apparmorProfile, undefined);
});
