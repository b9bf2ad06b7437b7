import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  type OciSpec,
  buildContainerSpec,
  buildSandboxSpec,
  decodeSpec,
  encodeSpec,
  type ContainerConfig,
  type PodSandboxConfig,
} from './index.ts';
import {
  containerConfig,
  containerInput,
  namespaceOption,
  podConfigWith,
  resources,
  sandboxFacts,
  sandboxInput,
  securityContext,
} from '../../../test/fixtures/spec-inputs.ts';

/** Specs that CRI-O 1.37 wrote on a real node, against ours for the same requests, field by field. */
const RECORDED = fileURLToPath(new URL('../../../test/fixtures/takeover/fs/', import.meta.url));
const WEB = '14810b06d3c84dcbd55b3a75d1ac2579434a30a27346e4af04dfd219ac9c8aef';
const SHARED = 'f277833fc24cc27070e574a2e98b69eff6a1305a562990c5b2c0c3a2973d494c';
const MAIN = '4dc3b8024965c92a214f5cb3dc089d5961f643d2f41144b9b691a84f11428210';
const ONCE = 'e2c70e336d1d4a505dc85116ec66ef24155b90dade425f87c61d5168748b7fee';
const SIDE = '2a3be99d8fe297f374282b336e0a50bd9f40ef6871733ca0f765d2879e1896b3';
const WEB_UUID = '139124c0-f252-402c-82d9-e878c8b1c0dc';
const SHARED_UUID = '9bbad72b-3181-42ff-afca-cbd4ec3ed5f5';
const WEB_UID = '11111111-2222-3333-4444-555555555555';
const SHARED_UID = '66666666-7777-8888-9999-000000000000';

function recordedText(id: string): string {
  return readFileSync(`${RECORDED}var/lib/containers/storage/overlay-containers/${id}/userdata/config.json`, 'utf8');
}

/** JSON inside annotations is compared as values: key order is Go's map order. */
function comparable(spec: OciSpec): unknown {
  const { annotations, ...rest } = JSON.parse(encodeSpec(spec)) as OciSpec;
  const values = Object.entries(annotations).map(([key, value]): [string, unknown] => [
    key,
    /^[[{]/.test(value) ? JSON.parse(value) : value,
  ]);
  return { ...rest, annotations: Object.fromEntries(values) };
}

function rdir(id: string): string {
  return `/run/containers/storage/overlay-containers/${id}/userdata`;
}

function pins(uuid: string) {
  return { network: `/var/run/netns/${uuid}`, ipc: `/var/run/ipcns/${uuid}`, uts: `/var/run/utsns/${uuid}`, user: undefined };
}

function recordedSandbox(id: string, config: PodSandboxConfig, uuid: string, spoofed: boolean) {
  const truth = decodeSpec(recordedText(id));
  const { name, namespace, uid, attempt } = config.metadata ?? assert.fail();
  const parent = truth.annotations['io.kubernetes.cri-o.CgroupParent'] ?? '';
  const { spec, warnings } = buildSandboxSpec(
    sandboxInput({
      id,
      name: `k8s_${name}_${namespace}_${uid}_${attempt}`,
      infraName: `k8s_POD_${name}_${namespace}_${uid}_${attempt}`,
      created: truth.annotations['io.kubernetes.cri-o.Created'] ?? '',
      config,
      annotations: config.annotations,
      labels: new Map([...config.labels, ['io.kubernetes.container.name', 'POD']]),
      hostname: name,
      rootfs: truth.root.path,
      logPath: `/var/log/pods/${namespace}_${name}_${uid}/${id}.log`,
      namespaces: pins(uuid),
      cgroupParent: parent,
      cgroupsPath: `${parent}/crio-${id}`,
      resolvPath: `${rdir(id)}/resolv.conf`,
      shmPath: `${rdir(id)}/shm`,
      hostnamePath: `${rdir(id)}/hostname`,
      cniResult: truth.annotations['io.kubernetes.cri-o.CNIResult'],
      spoofed,
      sysctls: config.linux?.sysctls ?? new Map(),
    }),
  );
  assert.deepEqual(warnings, []);
  return { spec, truth };
}

function podLabels(name: string, namespace: string, uid: string): [string, string][] {
  return [
    ['io.kubernetes.pod.name', name],
    ['io.kubernetes.pod.namespace', namespace],
    ['io.kubernetes.pod.uid', uid],
  ];
}

test('[F116 D46 D54 D56 D63 D73 D74 D76 P47 P48 P49 P50 P51 P52 P53 P54 P55 P56 P57 P58 P59 P60 P61 P62 P63 P64 P65 P67 P68 P70 P71 P72] the recorded pod without infra process', () => {
  const pod: Partial<PodSandboxConfig> = {
    metadata: { name: 'web', uid: WEB_UID, namespace: 'default', attempt: 0 },
    portMappings: [
      { protocol: 0, containerPort: 80, hostPort: 8080, hostIp: '' },
      { protocol: 0, containerPort: 443, hostPort: 0, hostIp: '' },
    ],
    labels: new Map([['app', 'web'], ...podLabels('web', 'default', WEB_UID)]),
    annotations: new Map([['example.com/note', 'kept as it is']]),
  };
  const config = podConfigWith(pod, {}, new Map([['net.ipv4.ip_unprivileged_port_start', '0']]));
  const { spec, truth } = recordedSandbox(WEB, config, WEB_UUID, true);
  assert.deepEqual(comparable(spec), comparable(truth));
});

test('[F116 D75 P62 P72] the recorded pod with a shared PID namespace', () => {
  const config = podConfigWith(
    {
      metadata: { name: 'shared', uid: SHARED_UID, namespace: 'kube-system', attempt: 1 },
      labels: new Map(podLabels('shared', 'kube-system', SHARED_UID)),
    },
    { pid: 0 },
  );
  const { spec, truth } = recordedSandbox(SHARED, config, SHARED_UUID, false);
  assert.deepEqual(comparable(spec), comparable(truth));
});

interface RecordedContainer {
  readonly id: string;
  readonly pod: { readonly id: string; readonly name: string; readonly namespace: string; readonly uid: string; readonly attempt: number };
  readonly uuid: string;
  readonly name: string;
  readonly attempt: number;
  readonly script: string;
  readonly pid: number;
  readonly infra: { readonly pid: number } | 'dropped';
  readonly podAnnotations: ReadonlyMap<string, string>;
  readonly containerEnvPath: string;
}

function recordedContainer(r: RecordedContainer): { spec: OciSpec; truth: OciSpec } {
  const truth = decodeSpec(recordedText(r.id));
  const parent = (truth.linux.cgroupsPath ?? '').replace(/\/crio-.*/, '');
  const config: ContainerConfig = containerConfig({
    metadata: { name: r.name, attempt: r.attempt },
    image: {
      image: 'registry.k8s.io/e2e-test-images/busybox:1.29-2',
      annotations: new Map(),
      userSpecifiedImage: '',
      runtimeHandler: '',
      imageRef: '',
    },
    command: ['/bin/sh', '-c', r.script],
    envs: [{ key: 'GREETING', value: Buffer.from('hello') }],
    labels: new Map([['io.kubernetes.container.name', r.name], ...podLabels(r.pod.name, r.pod.namespace, r.pod.uid)]),
    annotations: new Map([['io.kubernetes.container.restartCount', String(r.attempt)]]),
    linux: {
      resources: resources({ cpuShares: 256n, memoryLimitInBytes: 134217728n, oomScoreAdj: 500n }),
      securityContext: securityContext({ namespaceOptions: namespaceOption({ pid: r.pid }) }),
    },
  });
  const { spec, warnings } = buildContainerSpec(
    containerInput({
      id: r.id,
      name: `k8s_${r.name}_${r.pod.name}_${r.pod.namespace}_${r.pod.uid}_${r.attempt}`,
      created: truth.annotations['io.kubernetes.cri-o.Created'] ?? '',
      config,
      sandbox: sandboxFacts({
        id: r.pod.id,
        name: `k8s_${r.pod.name}_${r.pod.namespace}_${r.pod.uid}_${r.pod.attempt}`,
        hostname: r.pod.name,
        annotations: r.podAnnotations,
        ips: [truth.annotations['io.kubernetes.cri-o.IP.0'] ?? ''],
        namespaces: pins(r.uuid),
        infra: r.infra,
        cgroupParent: parent,
        resolvPath: `${rdir(r.pod.id)}/resolv.conf`,
        shmPath: `${rdir(r.pod.id)}/shm`,
        hostnamePath: `${rdir(r.pod.id)}/hostname`,
        containerEnvPath: r.containerEnvPath,
      }),
      image: {
        ...containerInput().image,
        id: '0fe9b3291c21485daafaee58818ba893b420fca70c251a35a41fd21b3d75ff44',
        someName: 'registry.k8s.io/e2e-test-images/busybox:1.29-2',
        repoDigests: [truth.annotations['io.kubernetes.cri-o.ImageRepoDigests'] ?? ''],
        env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      },
      rootfs: truth.root.path,
      logPath: `/var/log/pods/${r.pod.namespace}_${r.pod.name}_${r.pod.uid}/${r.name}/${r.attempt}.log`,
      cgroupsPath: `${parent}/crio-${r.id}`,
      user: { uid: 0, gid: 0, additionalGids: [0, 10] },
    }),
  );
  assert.deepEqual(warnings, []);
  // The one difference: CRI-O repeats PATH where the image sets it [F10].
  truth.process.env = [...new Set(truth.process.env)];
  return { spec, truth };
}

const WEB_POD = { id: WEB, name: 'web', namespace: 'default', uid: WEB_UID, attempt: 0 };
const WEB_CONTAINER = {
  pod: WEB_POD,
  uuid: WEB_UUID,
  attempt: 0,
  pid: 1,
  infra: 'dropped',
  podAnnotations: new Map([['example.com/note', 'kept as it is']]),
  containerEnvPath: `${rdir(WEB)}/.containerenv`,
} as const;

test('[F1 F4 F9 F11 F12 F29 F31 F32 F35 F46 F57 F58 F62 F63 F66 F68 F69 F114 F115 P76 P77 P78 P79 P80 P81 P82 P83 P84 P85 P86 P87 P88 P89 P90 P91 P92 P93] the recorded containers', () => {
  const script = "trap 'exit 0' TERM; echo started; while :; do sleep 1; done";
  const main = recordedContainer({ ...WEB_CONTAINER, id: MAIN, name: 'main', script });
  assert.deepEqual(comparable(main.spec), comparable(main.truth));
  const once = recordedContainer({ ...WEB_CONTAINER, id: ONCE, name: 'once', script: 'echo out; echo err >&2; exit 3' });
  assert.deepEqual(comparable(once.spec), comparable(once.truth));
});

test('[F59] the recorded container that joins the PID namespace of its pod', () => {
  const side = recordedContainer({
    id: SIDE,
    pod: { id: SHARED, name: 'shared', namespace: 'kube-system', uid: SHARED_UID, attempt: 1 },
    uuid: SHARED_UUID,
    name: 'side',
    attempt: 2,
    script: "trap 'exit 0' TERM; while :; do sleep 1; done",
    pid: 0,
    infra: { pid: 21469 },
    podAnnotations: new Map(),
    containerEnvPath: `/var/lib/containers/storage/overlay-containers/${SHARED}/userdata/.containerenv`,
  });
  assert.deepEqual(comparable(side.spec), comparable(side.truth));
});

test('[F3 D78] a recorded config.json, read and written, is the same text', () => {
  for (const id of [WEB, SHARED, MAIN, ONCE, SIDE]) assert.equal(encodeSpec(decodeSpec(recordedText(id))), recordedText(id));
});
