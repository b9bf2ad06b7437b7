import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { parseMountInfo } from '../../src/linux/index.ts';
import { NamespaceMode } from '../../src/wire/index.ts';
import { only, refused } from '../harness/expect.ts';
import { FAULTY, Faults } from '../harness/faults.ts';
import { BUSYBOX, REGISTRY, useNode } from '../harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, runPod, untilListening } from '../harness/pods.ts';

const config = `
[crio.runtime]
log_level = "debug"
[crio.runtime.runtimes.runc]
runtime_path = "/usr/sbin/runc"
runtime_root = "/run/runc"
allowed_annotations = ["io.kubernetes.cri-o.Devices"]
[crio.runtime.runtimes.runc.default_annotations]
"default.only" = "from the handler"
"default.both" = "from the handler"
`;
const node = useNode({ images: ['busybox'], config, ...FAULTY });

const STORE = '/var/lib/containers/storage';

interface StoredContainer {
  readonly id: string;
  readonly names: readonly string[];
  readonly layer: string;
  readonly metadata: string;
}

function records<T>(file: string): T[] {
  return JSON.parse(node.read(join(STORE, file))) as T[];
}

function recordOf(id: string): StoredContainer {
  return only(records<StoredContainer>('overlay-containers/volatile-containers.json').filter((record) => record.id === id));
}

function specOf(id: string): { annotations: Record<string, string>; root: { path: string } } {
  return JSON.parse(node.read(join(STORE, 'overlay-containers', id, 'userdata/config.json'))) as ReturnType<typeof specOf>;
}

function linux(pod: PodInput, options: { network?: NamespaceMode; pid?: NamespaceMode; ipc?: NamespaceMode }): PodInput {
  const namespaceOptions = { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid: NamespaceMode.CONTAINER, ...options };
  return { ...pod, linux: { ...pod.linux, securityContext: { namespaceOptions } } };
}

async function runSandbox(pod: PodInput): Promise<string> {
  return (await node.client.RunPodSandbox({ config: pod })).podSandboxId;
}

test('[D4 D5 D6 D41 D42 D43 D72] names and records of a pod and of its container are those that CRI-O would find', async () => {
  const pod = podConfig(node.machine, 'named');
  const { uid = '' } = pod.metadata ?? {};
  const asked = { ...pod, metadata: { ...pod.metadata, attempt: 2 } };
  const podSandboxId = await runSandbox(asked);
  const sandbox = recordOf(podSandboxId);
  assert.deepEqual(sandbox.names, [`k8s_POD_named_default_${uid}_2`, `k8s_named_default_${uid}_2`]);
  const { 'image-id': imageId, 'created-at': createdAt, ...metadata } = JSON.parse(sandbox.metadata) as Record<string, unknown>;
  assert.match(String(imageId), /^[0-9a-f]{64}$/);
  assert.ok(Math.abs(Number(createdAt) - Date.now() / 1000) < 60);
  assert.deepEqual(metadata, {
    'pod-name': `k8s_named_default_${uid}_2`,
    'pod-id': podSandboxId,
    'image-name': `${REGISTRY}/pause:latest`,
    name: `k8s_POD_named_default_${uid}_2`,
    'metadata-name': 'named',
    uid,
    namespace: 'default',
    attempt: 2,
    pod: true,
  });
  const layers = records<{ id: string; names?: readonly string[] }>('overlay-layers/volatile-layers.json');
  assert.deepEqual(only(layers.filter(({ id }) => id === sandbox.layer)).names, [`k8s_POD_named_default_${uid}_2-layer`]);
  const mounts = parseMountInfo(readFileSync(`/proc/${node.machine.init}/mountinfo`, 'utf8'));
  assert.equal(only(mounts.filter(({ mountPoint }) => mountPoint === specOf(podSandboxId).root.path)).type, 'overlay');

  // The pod's parts of a container's name are those of the request, whatever the pod is called.
  const base = containerConfig('c', BUSYBOX, OBEDIENT);
  const { containerId } = await node.client.CreateContainer({
    podSandboxId,
    config: { ...base, metadata: { name: 'c', attempt: 3 } },
    sandboxConfig: { ...asked, metadata: { name: 'other', namespace: 'elsewhere', uid: 'u', attempt: 9 } },
  });
  assert.deepEqual(recordOf(containerId).names, ['k8s_c_other_elsewhere_u_3']);
  assert.equal(specOf(containerId).annotations['io.kubernetes.cri-o.Name'], 'k8s_c_other_elsewhere_u_3');
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D41] a name that a record of another tool has in the store is told as such', async () => {
  const pod = podConfig(node.machine, 'taken');
  const podSandboxId = await runSandbox(pod);
  const file = 'overlay-containers/volatile-containers.json';
  const { metadata } = recordOf(podSandboxId);
  const becomes = (text: string) => {
    const all = records<StoredContainer>(file).map((record) => (record.id === podSandboxId ? { ...record, metadata: text } : record));
    node.write(join(STORE, file), JSON.stringify(all));
  };
  await node.kill9();
  becomes('of another tool');
  await node.start();
  const name = `k8s_taken_default_${pod.metadata?.uid ?? ''}_0`;
  await refused(node.client.RunPodSandbox({ config: pod }), 'ALREADY_EXISTS', `pod sandbox with name "${name}" already exists`);
  await node.kill9();
  becomes(metadata);
  await node.start();
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D32 D44] a pod of which nothing but its name is said has namespaces of its own, seccomp, and logs below log_dir', async () => {
  const metadata = { name: 'bare', namespace: 'default', uid: 'bare-uid', attempt: 0 };
  const podSandboxId = await runSandbox({ metadata, linux: { cgroupParent: node.machine.cgroup } });
  const { status, info } = await node.client.PodSandboxStatus({ podSandboxId, verbose: true });
  assert.deepEqual(
    [status?.linux?.namespaces?.options?.network, status?.linux?.namespaces?.options?.pid, status?.linux?.namespaces?.options?.ipc],
    [NamespaceMode.POD, NamespaceMode.POD, NamespaceMode.POD],
  );
  const { pid } = JSON.parse(info.get('info') ?? '{}') as { pid: number };
  const show = async () => (await node.machine.exec(['cat', `/proc/${pid}/status`])).stdout.toString('utf8');
  let proc = await show();
  while (proc.startsWith('Name:\trunc')) proc = await show(); // A start has succeeded when the runtime is about to become the command.
  assert.match(proc, /^Seccomp:\t2$/m);
  assert.match(proc, /^Uid:\t0\t0\t0\t0$/m);
  const directory = node.path(`/var/log/crio/pods/${podSandboxId}`);
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  assert.ok(existsSync(join(directory, `${podSandboxId}.log`)));
  await node.client.RemovePodSandbox({ podSandboxId });
  const relative = podConfig(node.machine, 'relative', { logDirectory: 'logs/here' });
  await refused(
    node.client.RunPodSandbox({ config: relative }),
    'INVALID_ARGUMENT',
    /^requested logDir for sbuilder ID [0-9a-f]{64} is a relative path: logs\/here$/,
  );
});

test('[D45] a symlink to nowhere in the place of the pause process’s log is taken away, and the log is a file', async () => {
  const pod = linux(podConfig(node.machine, 'linked'), { pid: NamespaceMode.POD });
  const faults = new Faults(node);
  faults.arm('pause', 'begin RunPodSandbox/record');
  let over = false;
  const run = runSandbox(pod).finally(() => (over = true));
  assert.ok(await faults.paused(() => over));
  const id = only(readdirSync(node.path('/run/crio/journal'))).replace('.json', '');
  const log = join(pod.logDirectory ?? '', `${id}.log`);
  mkdirSync(node.path(dirname(log)), { recursive: true });
  symlinkSync('/var/log/not-there', node.path(log));
  faults.resume();
  assert.equal(await run, id);
  assert.ok(lstatSync(node.path(log)).isFile());
  assert.ok(!existsSync(node.path('/var/log/not-there')));
  await node.client.RemovePodSandbox({ podSandboxId: id });
});

test('[D38] a pod has the annotations of its handler, those of its own over them, and none that are not allowed', async () => {
  const annotations = new Map([
    ['default.both', 'of the pod'],
    ['io.kubernetes.cri-o.userns-mode', 'auto'],
    ['userns-mode.crio.io', 'auto'],
    ['mine', 'kept'],
  ]);
  const podSandboxId = await runSandbox(podConfig(node.machine, 'annotated', { annotations }));
  const { status } = await node.client.PodSandboxStatus({ podSandboxId });
  assert.deepEqual(Object.fromEntries(status?.annotations ?? []), {
    'default.only': 'from the handler',
    'default.both': 'of the pod',
    mine: 'kept',
  });
  await node.client.RemovePodSandbox({ podSandboxId });
});

for (const kind of ['network', 'pid', 'ipc'] as const) {
  test(`[D40] a pod in the ${kind} namespace of the node counts as privileged`, async () => {
    const privileged = async (pod: PodInput) => {
      const podSandboxId = await runSandbox(pod);
      const { annotations } = specOf(podSandboxId);
      const { privileged: stored } = JSON.parse(recordOf(podSandboxId).metadata) as { privileged?: boolean };
      await node.client.RemovePodSandbox({ podSandboxId });
      return [annotations['io.kubernetes.cri-o.PrivilegedRuntime'], stored];
    };
    assert.deepEqual(await privileged(linux(podConfig(node.machine, 'node'), { [kind]: NamespaceMode.NODE })), ['true', true]);
    assert.deepEqual(await privileged(podConfig(node.machine, 'own')), ['false', undefined]);
  });
}

test('[D48] a label may have 4096 bytes, key and value together, and no more', async () => {
  const labelled = (bytes: number) => podConfig(node.machine, 'labelled', { labels: new Map([['labelled-key', 'v'.repeat(bytes - 12)]]) });
  await refused(
    node.client.RunPodSandbox({ config: labelled(4097) }),
    'INVALID_ARGUMENT',
    'label key and value greater than maximum size (4096 bytes), key: labelled-k',
  );
  const podSandboxId = await runSandbox(labelled(4096));
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D10 D11 D12] ids are found by any beginning that fits one; a pod’s id is no container’s', async () => {
  const ids: string[] = [];
  const hasTwins = () => ids.some((id, n) => ids.findIndex((other) => other[0] === id[0]) < n);
  while (!hasTwins()) ids.push(await runSandbox(linux(podConfig(node.machine, `n${ids.length}`), { network: NamespaceMode.NODE })));
  const [last = ''] = ids.slice(-1);
  const { status } = await node.client.PodSandboxStatus({ podSandboxId: last.slice(0, 20) });
  assert.equal(status?.id, last);
  await refused(
    node.client.StopPodSandbox({ podSandboxId: last.slice(0, 1) }),
    'NOT_FOUND',
    new RegExp(`^PodSandbox with ID starting with ${last[0]} not found: Multiple IDs found with provided prefix: (${ids.join('|')})$`),
  );
  const text = `could not find container "${last}": specified container not found: ${last} (This is the id of a pod: use the calls for pods.)`;
  await refused(node.client.ContainerStatus({ containerId: last }), 'NOT_FOUND', text);
  await refused(node.client.StopContainer({ containerId: last }), 'NOT_FOUND', text);
  await refused(node.client.RemoveContainer({ containerId: last }), 'NOT_FOUND', text);
  for (const podSandboxId of ids) await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D160] Status names the image by a name of its own, the list as the request did', async () => {
  const pod = podConfig(node.machine, 'imaged');
  const podSandboxId = await runSandbox(pod);
  const { image } = await node.client.ImageStatus({ image: { image: BUSYBOX } });
  assert.ok(image);
  const create = async (name: string, reference: string) =>
    (await node.client.CreateContainer({ podSandboxId, config: containerConfig(name, reference, ['true']), sandboxConfig: pod }))
      .containerId;
  for (const [name, reference] of [
    ['by-name', BUSYBOX],
    ['by-id', image.id],
    ['by-digest', image.repoDigests[0] ?? ''],
  ] as const) {
    const containerId = await create(name, reference);
    const { status } = await node.client.ContainerStatus({ containerId });
    const listed = only((await node.client.ListContainers({ filter: { id: containerId } })).containers);
    assert.deepEqual([status?.image?.image, status?.imageRef, status?.imageId], [BUSYBOX, image.repoDigests[0], image.id]);
    assert.deepEqual([listed.image?.image, listed.imageRef, listed.imageId], [reference, image.repoDigests[0], image.id]);
  }
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[C53 C60 D15] lines of one call carry its id and method, also what pods and containers log about themselves', async () => {
  const before = node.log().length;
  const labels = (container: string) =>
    new Map([
      ['io.kubernetes.pod.namespace', 'default'],
      ['io.kubernetes.pod.name', 'logged'],
      ['io.kubernetes.container.name', container],
    ]);
  const pod = podConfig(node.machine, 'logged');
  const { podSandboxId, containerId } = await runPod(node.client, pod, containerConfig('c', BUSYBOX, OBEDIENT, { labels: labels('c') }));
  await untilListening(node.client, containerId);
  await node.client.StopContainer({ containerId, timeout: 20n });
  await node.client.RemoveContainer({ containerId });
  await node.client.StopPodSandbox({ podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId });
  const lines = node.log().slice(before).split('\n');
  const ids = new Set<string>();
  for (const [method, ...texts] of [
    [
      'RunPodSandbox',
      'Running pod sandbox: default/logged/POD',
      `Ran pod sandbox ${podSandboxId} with infra container: default/logged/POD`,
    ],
    ['CreateContainer', 'Creating container: default/logged/c', `Created container ${containerId}: default/logged/c`],
    ['StartContainer', `Starting container: ${containerId}`, `Started container ${containerId}: default/logged/c`],
    ['StopContainer', `Stopping container: ${containerId} (timeout: 20s)`, `Stopped container ${containerId}: default/logged/c`],
    ['RemoveContainer', `Removing container: ${containerId}`, `Removed container ${containerId}: default/logged/c`],
    ['StopPodSandbox', `Stopping pod sandbox: ${podSandboxId}`, `Stopped pod sandbox: ${podSandboxId}`],
    ['RemovePodSandbox', `Removing pod sandbox: ${podSandboxId}`, `Removed pod sandbox: ${podSandboxId}`],
  ] as const) {
    const request = only(lines.filter((line) => line.includes(`msg="Request: ${method}Request, `)));
    const id = /\bid=([0-9a-f-]{36}) name=\/runtime\.v1\.RuntimeService\/(\w+)$/.exec(request);
    assert.equal(id?.[2], method);
    ids.add(id[1] ?? '');
    for (const text of [...texts, `Response: ${method}Response after `]) {
      const line = only(lines.filter((candidate) => candidate.includes(`msg="${text}`)));
      assert.ok(line.includes(id[0]), `no id of its call in: ${line}`);
    }
  }
  assert.equal(ids.size, 7);
  assert.ok(!lines.join('\n').includes(BUSYBOX), 'contents of requests are not logged');
});
