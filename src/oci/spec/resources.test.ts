import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type ContainerSpecInput, type Workload, buildContainerSpec, buildSandboxSpec, decodeSpec, encodeSpec } from './index.ts';
import {
  containerConfig,
  containerInput,
  hostFacts,
  resources,
  sandboxFacts,
  sandboxInput,
  specSettings,
} from '../../../test/fixtures/spec-inputs.ts';

const MIB = 1024n * 1024n;
const build = (over: Parameters<typeof resources>[0] | undefined, more: Partial<ContainerSpecInput> = {}) =>
  buildContainerSpec(
    containerInput({ config: containerConfig({ linux: { ...containerConfig().linux, resources: over && resources(over) } }), ...more }),
  ).spec.linux.resources;

test('[F29 L31] CPU numbers are written with zeros, and not at all without resources', () => {
  assert.deepEqual(build({})?.cpu, { shares: 0, quota: 0, period: 0 });
  assert.deepEqual(build({ cpuQuota: -1n, cpusetCpus: '0-1', cpusetMems: '0' })?.cpu, {
    shares: 0,
    quota: -1,
    period: 0,
    cpus: '0-1',
    mems: '0',
  });
  assert.equal(build(undefined)?.cpu, undefined);
  assert.throws(() => build({ cpuShares: -1n }), { kind: 'InvalidArgument' });
});

test('[F30 L13 L14] a memory limit below the minimum', () => {
  const message = (limit: bigint) => `set memory limit ${limit} too low; should be at least 12582912 bytes`;
  assert.throws(() => build({ memoryLimitInBytes: 12n * MIB - 1n }), { message: message(12n * MIB - 1n) });
  assert.throws(() => build({ memoryLimitInBytes: -1n }), { message: message(-1n) });
  assert.deepEqual(build({ memoryLimitInBytes: 12n * MIB })?.memory, { limit: 12582912, swap: 12582912 });
  assert.deepEqual(build({ memoryLimitInBytes: MIB }, { minMemory: 512000n })?.memory, { limit: 1048576, swap: 1048576 });
});

test('[F31 L32] swap is the limit unless more is asked for', () => {
  assert.deepEqual(build({ memoryLimitInBytes: 20n * MIB, memorySwapLimitInBytes: 30n * MIB })?.memory, {
    limit: 20971520,
    swap: 31457280,
  });
  assert.deepEqual(build({ memoryLimitInBytes: 20n * MIB, memorySwapLimitInBytes: -1n })?.memory, { limit: 20971520, swap: -1 });
  assert.equal(build({ memorySwapLimitInBytes: 30n * MIB })?.memory, undefined);
  const host = hostFacts({ swapAccounting: false });
  assert.deepEqual(build({ memoryLimitInBytes: 20n * MIB, memorySwapLimitInBytes: MIB }, { host })?.memory, { limit: 20971520 });
  assert.throws(() => build({ memoryLimitInBytes: 20n * MIB, memorySwapLimitInBytes: MIB }, { id: 'c1' }), {
    message: 'container c1 create failed because memory swap limit (1048576) cannot be lower than memory limit (20971520)',
  });
});

test('[a81] limits up to 2^63-1 reach config.json exactly', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 12n * MIB, max: 2n ** 63n - 1n }), fc.bigInt({ min: -1n, max: 2n ** 62n }), (memory, quota) => {
      const { spec } = buildContainerSpec(
        containerInput({
          config: containerConfig({
            linux: { ...containerConfig().linux, resources: resources({ memoryLimitInBytes: memory, cpuQuota: quota }) },
          }),
        }),
      );
      const back = decodeSpec(encodeSpec(spec)).linux.resources;
      return BigInt(back?.memory?.limit ?? 0) === memory && BigInt(back?.cpu?.quota ?? 0) === quota;
    }),
  );
});

test('[F33 L30 L34] huge pages and the unified map only where the kernel has them', () => {
  const wanted = { hugepageLimits: [{ pageSize: '2MB', limit: 4194304n }], unified: new Map([['memory.high', '1']]) };
  const v2 = build(wanted, { host: hostFacts({ cgroupVersion: 2 }) });
  assert.deepEqual([v2?.hugepageLimits, v2?.unified?.['memory.high']], [[{ pageSize: '2MB', limit: 4194304 }], '1']);
  const v1 = build(wanted, { host: hostFacts({ hugetlb: false }) });
  assert.deepEqual([v1?.hugepageLimits, v1?.unified], [undefined, undefined]);
});

test('[F34 L35 P16] the unified annotation of one container, over the map of the request', () => {
  const unified = (text: string, key = 'unified-cgroup.crio.io/ctr') =>
    build(
      {
        unified: new Map([
          ['memory.high', '1'],
          ['a', 'b'],
        ]),
      },
      {
        host: hostFacts({ cgroupVersion: 2 }),
        sandbox: sandboxFacts({ annotations: new Map([[key, text]]) }),
      },
    )?.unified;
  const base64 = Buffer.from('8:16 rbps=1').toString('base64');
  assert.deepEqual({ ...unified(`memory.high=5000;;io.max=${base64}`) }, { a: 'b', 'io.max': '8:16 rbps=1', 'memory.high': '5000' });
  assert.equal(unified('x=max', 'io.kubernetes.cri-o.UnifiedCgroup/ctr')?.['x'], 'max');
  assert.equal(unified('x=max', 'io.kubernetes.cri-o.UnifiedCgroup.ctr')?.['x'], 'max');
  assert.equal(unified('x=max', 'unified-cgroup.crio.io/other')?.['x'], undefined);
  assert.throws(() => unified('memory.high'), { message: 'invalid annotation "unified-cgroup.crio.io/ctr"' });
});

test('[F35 L40] the pids limit as configured, where the controller is', () => {
  assert.deepEqual(build({})?.pids, { limit: -1 });
  assert.deepEqual(build({}, { settings: specSettings({ pidsLimit: 1024n }) })?.pids, { limit: 1024 });
  assert.equal(build({}, { host: hostFacts({ pidsController: false }) })?.pids, undefined);
  const crun = { ...containerInput().runtime, ociVersionMax: undefined };
  assert.equal(build({}, { runtime: crun })?.pids, undefined);
  assert.deepEqual(build({}, { runtime: crun, settings: specSettings({ pidsLimit: 5n }) })?.pids, { limit: 5 });
});

const workload: Workload = {
  annotationPrefix: 'io.crio.workload',
  resources: { cpuShares: 10n, cpuQuota: 0n, cpuPeriod: 0n, cpuLimit: 500n, cpuset: '0-1' },
};
const withWorkload = (annotation?: string, over: Workload = workload) =>
  build(
    { cpuShares: 1n, cpuQuota: 7n, cpusetCpus: '3' },
    {
      workload: over,
      sandbox: sandboxFacts({ annotations: new Map(annotation === undefined ? [] : [['io.crio.workload/ctr', annotation]]) }),
    },
  )?.cpu;

test('[F38 L54 L57 L59 B123] the table of a workload over the request', () => {
  assert.deepEqual(withWorkload(), { shares: 10, quota: 7, period: 0, cpus: '0-1' });
});

test('[F38 L56 L58 L60 B118 B122] its annotation over the table; cpulimit becomes a quota', () => {
  assert.deepEqual(withWorkload('{"cpushares":20}'), { shares: 20, quota: 50000, period: 0, cpus: '0-1' });
  assert.deepEqual(withWorkload('{"cpulimit":1,"cpuperiod":200000,"cpuset":"5"}'), { shares: 10, quota: 1000, period: 200000, cpus: '5' });
  assert.deepEqual(withWorkload('{"cpuquota":9}', { annotationPrefix: 'io.crio.workload' }), { shares: 1, quota: 9, period: 0, cpus: '3' });
  for (const bad of ['{', '[]', '{"cpushares":"x"}', '{"cpuset":1}'])
    assert.throws(() => withWorkload(bad), { name: 'Failure', kind: 'Unknown' }, bad);
});

test('[D74 L43] the infra container: least shares, its cpuset, -998 clamped with a warning', () => {
  const { spec, warnings } = buildSandboxSpec(
    sandboxInput({ host: hostFacts({ lowestOomScoreAdj: 0 }), settings: specSettings({ infraCtrCpuset: '0' }) }),
  );
  assert.deepEqual(spec.linux.resources?.cpu, { shares: 2, cpus: '0' });
  assert.deepEqual([spec.process.oomScoreAdj, warnings.length], [0, 1]);
});
