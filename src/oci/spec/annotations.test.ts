import { test } from 'node:test';
import assert from 'node:assert/strict';
import {
  GATED_ANNOTATIONS,
  annotationValue,
  buildContainerSpec,
  buildSandboxSpec,
  decodeSpec,
  encodeSpec,
  filterAnnotations,
  namespaceOptionsJson,
  oldAnnotationKey,
  resourcesJson,
  stopSignalName,
} from './index.ts';
import {
  containerConfig,
  containerInput,
  namespaceOption,
  podConfig,
  resources,
  sandboxFacts,
  sandboxInput,
  specSettings,
} from '../../../test/fixtures/spec-inputs.ts';

const P = 'io.kubernetes.cri-o.';

test('[F121 P1 P2 P3 P6 G106 a22 a23 a63] nothing gated passes unless allowed, with any suffix', () => {
  for (const key of GATED_ANNOTATIONS)
    for (const suffix of ['', '/ctr', '.ctr', 'more']) {
      const given = new Map([
        [`${key}${suffix}`, 'x'],
        ['example.com/kept', 'y'],
      ]);
      assert.deepEqual([...filterAnnotations(given, [])], [['example.com/kept', 'y']], key + suffix);
      assert.equal(filterAnnotations(given, [key]).size, 2, key + suffix);
    }
});

test('[P5 G107] allowing the new name does not allow the old one', () => {
  const given = new Map([
    ['devices.crio.io', '1'],
    [`${P}Devices`, '2'],
  ]);
  assert.deepEqual([...filterAnnotations(given, ['devices.crio.io']).keys()], ['devices.crio.io']);
  assert.deepEqual([...filterAnnotations(given, [`${P}Devices`]).keys()], [`${P}Devices`]);
});

test('[a23] what the runtime calls unsafe needs to be allowed as well', () => {
  const given = new Map([
    ['nvidia.cdi', '1'],
    ['com.vendor.x', '2'],
    ['nvidia.cdi.other', '3'],
  ]);
  assert.deepEqual([...filterAnnotations(given, [], ['nvidia.cdi', 'com.vendor.']).keys()], ['nvidia.cdi.other']);
  assert.equal(filterAnnotations(given, ['nvidia.cdi', 'com.vendor.'], ['nvidia.cdi', 'com.vendor.']).size, 3);
});

test('[F120 P8 G107] the new name before the old, with and without a container', () => {
  const given = new Map([
    ['umask.crio.io', 'new'],
    [`${P}umask`, 'old'],
    [`${P}UnifiedCgroup/c`, 'c'],
  ]);
  assert.equal(annotationValue(given, 'umask.crio.io'), 'new');
  assert.equal(annotationValue(new Map([[`${P}umask`, 'old']]), 'umask.crio.io'), 'old');
  assert.equal(annotationValue(given, 'unified-cgroup.crio.io', 'c'), 'c');
  assert.equal(annotationValue(given, 'unified-cgroup.crio.io'), undefined);
});

test('[F114 P97 a36] pod, then container, then labels; no one replaces a key of ours', () => {
  const hostile = new Map([
    [`${P}ContainerType`, 'sandbox'],
    ['io.container.manager', 'evil'],
    ['a', 'pod'],
    ['b', 'pod'],
    ['c', 'pod'],
  ]);
  const { spec } = buildContainerSpec(
    containerInput({
      sandbox: sandboxFacts({ annotations: hostile }),
      config: containerConfig({
        annotations: new Map([
          ['a', 'container'],
          ['b', 'container'],
          [`${P}SandboxID`, 'x'],
        ]),
        labels: new Map([['b', 'label']]),
      }),
    }),
  );
  assert.deepEqual([spec.annotations['a'], spec.annotations['b'], spec.annotations['c']], ['container', 'label', 'pod']);
  assert.deepEqual([spec.annotations[`${P}ContainerType`], spec.annotations['io.container.manager']], ['container', 'cri-o']);
  assert.equal(spec.annotations[`${P}SandboxID`], 'a'.repeat(64));
});

test('[P74 a36] nor in a sandbox', () => {
  const annotations = new Map([
    [`${P}ContainerType`, 'container'],
    [`${P}CgroupParent`, '/'],
    ['note', 'kept'],
  ]);
  const { spec } = buildSandboxSpec(sandboxInput({ annotations, spoofed: false }));
  assert.deepEqual(
    [spec.annotations[`${P}ContainerType`], spec.annotations[`${P}CgroupParent`], spec.annotations['note']],
    ['sandbox', '/kubepods/burstable/pod1', 'kept'],
  );
  assert.equal(spec.annotations['spoofed.crio.io'], undefined);
});

test('[F117 P36 P73 P94] the stop signal, of the request before that of the image', () => {
  const signal = (stopSignal: number, image: string) =>
    buildContainerSpec(containerInput({ config: containerConfig({ stopSignal }), image: { ...containerInput().image, stopSignal: image } }))
      .spec.annotations['org.opencontainers.image.stopSignal'];
  assert.deepEqual([signal(29, 'SIGINT'), signal(0, 'SIGINT'), signal(0, '')], ['SIGUSR1', 'SIGINT', undefined]);
  const pause = buildSandboxSpec(sandboxInput({ pause: { entrypoint: [], cmd: [], stopSignal: 'SIGQUIT' } })).spec;
  assert.equal(pause.annotations['org.opencontainers.image.stopSignal'], 'SIGQUIT');
});

test('names of the stop signals on the wire', () => {
  assert.deepEqual([1, 23, 29, 34, 35, 36, 50, 51, 64, 65, 66].map(stopSignalName), [
    'SIGABRT',
    'SIGTERM',
    'SIGUSR1',
    'SIGXFSZ',
    'SIGRTMIN',
    'SIGRTMIN+1',
    'SIGRTMIN+15',
    'SIGRTMAX-14',
    'SIGRTMAX-1',
    'SIGRTMAX',
    undefined,
  ]);
});

test('[F118 P41 P95 P96] systemd properties, with the systemd cgroup manager alone', () => {
  const build = (systemdCgroups: boolean, seconds: string) =>
    buildContainerSpec(
      containerInput({
        settings: specSettings({ systemdCgroups }),
        config: containerConfig({ annotations: new Map([['io.kubernetes.pod.terminationGracePeriod', seconds]]) }),
      }),
    ).spec.annotations;
  const on = build(true, '30');
  assert.equal(on['org.systemd.property.DefaultDependencies'], 'true');
  assert.equal(on['org.systemd.property.After'], "['crio.service']");
  assert.equal(on['org.systemd.property.TimeoutStopUSec'], 'uint64 30000000');
  assert.equal(build(true, '30; x')['org.systemd.property.TimeoutStopUSec'], undefined);
  assert.equal(build(false, '30')['org.systemd.property.After'], undefined);
});

test('[F119 P35] the trace annotation of this container', () => {
  const sandbox = sandboxFacts({
    annotations: new Map([
      ['io.containers.trace-syscall/ctr', 'of:/x'],
      ['io.containers.trace-syscall/other', 'of:/y'],
    ]),
  });
  assert.equal(buildContainerSpec(containerInput({ sandbox })).spec.annotations['io.containers.trace-syscall'], 'of:/x');
});

test('[F88 P90] volumes with the keys that CRI-O reads', () => {
  const volume = {
    container_path: '/d',
    host_path: '/s',
    readonly: true,
    recursive_read_only: false,
    propagation: 1,
    selinux_relabel: false,
  };
  const { spec } = buildContainerSpec(
    containerInput({ mounts: { binds: [], images: [], rootfsPropagation: undefined, volumes: [volume] } }),
  );
  assert.equal(
    spec.annotations[`${P}Volumes`],
    '[{"container_path":"/d","host_path":"/s","readonly":true,"recursive_read_only":false,"propagation":1,"selinux_relabel":false}]',
  );
});

test('[P98] old names of our keys are written only when asked for', () => {
  const old = oldAnnotationKey('spoofed.crio.io') ?? '';
  assert.equal(buildSandboxSpec(sandboxInput()).spec.annotations[old], undefined);
  const both = buildSandboxSpec(sandboxInput({ settings: specSettings({ oldAnnotationKeys: true }) })).spec.annotations;
  assert.deepEqual([both[old], both['spoofed.crio.io'], both[`${P}PodLinuxOverhead`]], ['true', 'true', 'null']);
});

test('[P62 P71] CRI messages as Go writes them: snake case, zeros left out', () => {
  assert.equal(namespaceOptionsJson(undefined), '{}');
  assert.equal(namespaceOptionsJson(namespaceOption({ network: 2, pid: 3, targetId: 't' })), '{"network":2,"pid":3,"target_id":"t"}');
  const uids = [{ hostId: 100000, containerId: 0, length: 65536 }];
  assert.equal(
    namespaceOptionsJson(namespaceOption({ usernsOptions: { mode: 0, uids, gids: [] } })),
    '{"pid":1,"userns_options":{"uids":[{"host_id":100000,"length":65536}]}}',
  );
  assert.equal(resourcesJson(undefined), 'null');
  assert.equal(
    resourcesJson(
      resources({
        cpuShares: 2n,
        memoryLimitInBytes: 2n ** 63n - 1n,
        hugepageLimits: [{ pageSize: '2MB', limit: 1n }],
        unified: new Map([['a', 'b']]),
      }),
    ),
    '{"cpu_shares":2,"memory_limit_in_bytes":9223372036854775807,"hugepage_limits":[{"page_size":"2MB","limit":1}],"unified":{"a":"b"}}',
  );
});

test('[a76] keys that JavaScript knows come back from config.json unchanged', () => {
  const odd = new Map([
    ['__proto__', 'x'],
    ['constructor', 'y'],
    ['toString', 'z'],
  ]);
  const { spec } = buildSandboxSpec(sandboxInput({ annotations: odd, labels: odd, config: podConfig() }));
  const back = decodeSpec(encodeSpec(spec)).annotations;
  for (const [key, value] of odd) assert.equal(Object.getOwnPropertyDescriptor(back, key)?.value, value);
  assert.equal(back[`${P}Labels`], '{"__proto__":"x","constructor":"y","toString":"z"}');
  assert.equal(({} as Record<string, unknown>)['x'], undefined);
});
