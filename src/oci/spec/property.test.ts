import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Failure } from '../../errors/index.ts';
import { defaultSeccompProfile } from '../../security/index.ts';
import { ContainerConfig as WireContainer, PodSandboxConfig as WirePod } from '../../wire/index.ts';
import { type ContainerConfig, type PodSandboxConfig, buildContainerSpec, buildSandboxSpec, decodeSpec, encodeSpec } from './index.ts';
import { containerConfig, containerInput, hostFacts, podConfig, sandboxFacts, sandboxInput } from '../../../test/fixtures/spec-inputs.ts';

test('what the wire decodes is a request of the domain as it is', () => {
  const container: ContainerConfig = WireContainer.decode(WireContainer.encode(WireContainer.create({ command: ['a'] })));
  const pod: PodSandboxConfig = WirePod.decode(WirePod.encode(WirePod.create({ hostname: 'h' })));
  assert.deepEqual([container.command, pod.hostname], [['a'], 'h']);
});

const text = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom('', '/', 'ALL', 'HOME', '/proc/self', '__proto__'),
);
const int64 = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.constantFrom(0n, -1n, 1000n, 134217728n));
const number = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.integer());
const texts = fc.array(text, { maxLength: 4 });
const map = fc.array(fc.tuple(text, text), { maxLength: 4 }).map((entries) => new Map(entries));
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const mapping = fc.record({ hostId: fc.nat(), containerId: fc.nat(), length: fc.nat() });
const namespaceOptions = fc.record({
  network: number,
  pid: number,
  ipc: number,
  targetId: text,
  usernsOptions: optional(
    fc.record({ mode: number, uids: fc.array(mapping, { maxLength: 2 }), gids: fc.array(mapping, { maxLength: 2 }) }),
  ),
});
const resources = fc.record({
  cpuPeriod: int64,
  cpuQuota: int64,
  cpuShares: int64,
  memoryLimitInBytes: int64,
  oomScoreAdj: int64,
  cpusetCpus: text,
  cpusetMems: text,
  hugepageLimits: fc.array(fc.record({ pageSize: text, limit: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }), { maxLength: 2 }),
  unified: map,
  memorySwapLimitInBytes: int64,
});
const capabilities = fc.record({ addCapabilities: texts, dropCapabilities: texts, addAmbientCapabilities: texts });
const profile = fc.record({ profileType: number, localhostRef: text });

const config = fc.record({
  command: texts,
  args: texts,
  workingDir: text,
  envs: fc.array(fc.record({ key: text, value: fc.uint8Array({ maxLength: 8 }) }), { maxLength: 4 }),
  labels: map,
  annotations: map,
  tty: fc.boolean(),
  stopSignal: number,
  linux: optional(
    fc.record({
      resources: optional(resources),
      securityContext: optional(
        fc.record({
          capabilities: optional(capabilities),
          privileged: fc.boolean(),
          namespaceOptions: optional(namespaceOptions),
          runAsUsername: text,
          readonlyRootfs: fc.boolean(),
          supplementalGroups: fc.array(int64, { maxLength: 2 }),
          supplementalGroupsPolicy: number,
          noNewPrivs: fc.boolean(),
          maskedPaths: texts,
          readonlyPaths: texts,
          seccomp: optional(profile),
          apparmorProfile: text,
          seccompProfilePath: text,
        }),
      ),
    }),
  ),
});

test('any request gives a spec that survives its JSON, or a Failure', () => {
  let built = 0;
  fc.assert(
    fc.property(config, map, fc.constantFrom<1 | 2>(1, 2), text, (over, annotations, cgroupVersion, hostname) => {
      try {
        const { spec } = buildContainerSpec(
          containerInput({
            config: containerConfig(over),
            sandbox: sandboxFacts({ annotations, hostname, privileged: true, infra: { pid: 7 } }),
            host: hostFacts({ cgroupVersion }),
            seccomp: { reference: 'RuntimeDefault', profile: defaultSeccompProfile() },
          }),
        );
        built++;
        assert.equal(encodeSpec(decodeSpec(encodeSpec(spec))), encodeSpec(spec));
        assert.ok(spec.process.args.length > 0);
        assert.equal(spec.annotations['io.container.manager'], 'cri-o');
        assert.equal(new Set(spec.process.env.map((entry) => entry.split('=', 1)[0])).size, spec.process.env.length);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
      }
    }),
    { numRuns: 300 },
  );
  assert.ok(built > 20, `only ${built} of the requests could be built at all`);
});

test('any pod gives a spec with all that a restart needs', () => {
  const pod = fc.record({
    hostname: text,
    labels: map,
    annotations: map,
    linux: optional(fc.record({ cgroupParent: text, sysctls: map, overhead: optional(resources), resources: optional(resources) })),
  });
  fc.assert(
    fc.property(pod, (over) => {
      const { spec } = buildSandboxSpec(sandboxInput({ config: podConfig(over), annotations: over.annotations, labels: over.labels }));
      const { annotations } = decodeSpec(encodeSpec(spec));
      for (const key of ['Metadata', 'Labels', 'Annotations', 'PortMappings', 'NamespaceOptions'])
        JSON.parse(annotations[`io.kubernetes.cri-o.${key}`] ?? '');
      assert.deepEqual(
        JSON.parse(annotations['io.kubernetes.cri-o.Labels'] ?? ''),
        JSON.parse(JSON.stringify(Object.fromEntries(over.labels))),
      );
    }),
    { numRuns: 100 },
  );
});
