import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseMountInfo } from '../../src/linux/index.ts';
import { NamespaceMode, PodSandboxState } from '../../src/wire/index.ts';
import { cgroupsBelow } from '../harness/cgroups.ts';
import { only, refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, runPod } from '../harness/pods.ts';

const node = useNode({ images: ['busybox'] });

function pod(name: string, more: PodInput = {}): PodInput {
  return podConfig(node.machine, name, more);
}

function linux(config: PodInput, namespaces: { network?: NamespaceMode; pid?: NamespaceMode; ipc?: NamespaceMode }): PodInput['linux'] {
  const namespaceOptions = { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid: NamespaceMode.CONTAINER, ...namespaces };
  return { ...config.linux, securityContext: { ...config.linux?.securityContext, namespaceOptions } };
}

async function runSandbox(config: PodInput, runtimeHandler = ''): Promise<string> {
  return (await node.client.RunPodSandbox({ config, runtimeHandler })).podSandboxId;
}

async function remove(podSandboxId: string): Promise<void> {
  await node.client.StopPodSandbox({ podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId });
}

async function statusOf(podSandboxId: string) {
  const { status } = await node.client.PodSandboxStatus({ podSandboxId });
  assert.ok(status);
  return status;
}

const STORE = '/var/lib/containers/storage';
const userdata = (id: string) => `${STORE}/overlay-containers/${id}/userdata`;
const rundata = (id: string) => `/run/containers/storage/overlay-containers/${id}/userdata`;
const mountsOf = (pid: number) => parseMountInfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
const mounted = (prefix: string) => mountsOf(node.machine.init).filter((mount) => mount.mountPoint.startsWith(prefix));

test('[D3 D33 D49 D81 D112] a pod that runs tells its id, state, address, labels, annotations and metadata', async () => {
  const config = pod('told', { labels: new Map([['app', 'web']]), annotations: new Map([['note', 'as given']]) });
  const before = BigInt(Date.now()) * 1_000_000n;
  const id = await runSandbox(config);
  assert.match(id, /^[0-9a-f]{64}$/);
  const status = await statusOf(id);
  assert.equal(status.id, id);
  assert.equal(status.state, PodSandboxState.SANDBOX_READY);
  assert.deepEqual({ ...status.metadata }, { ...config.metadata });
  assert.equal(status.annotations.get('note'), 'as given');
  assert.equal(status.runtimeHandler, '');
  assert.match(status.network?.ip ?? '', /^10\.85\.\d+\.\d+$/);
  assert.ok(status.createdAt >= before && status.createdAt <= BigInt(Date.now()) * 1_000_000n);
  assert.deepEqual(Object.fromEntries(status.labels), {
    app: 'web',
    'io.kubernetes.container.name': 'POD',
    'io.kubernetes.pod.name': 'told',
    'io.kubernetes.pod.namespace': 'default',
    'io.kubernetes.pod.uid': config.metadata?.uid,
  });
  await remove(id);
});

test('[D64 D99] namespaces of a pod are pinned under one name, and gone when it is stopped', async () => {
  const id = await runSandbox(pod('pinned'));
  const names = ['netns', 'ipcns', 'utsns'].map((kind) => only(readdirSync(node.path(`/run/${kind}`))));
  assert.equal(new Set(names).size, 1);
  for (const kind of ['netns', 'ipcns', 'utsns']) {
    const pin = only(mounted(`/run/${kind}/`));
    assert.equal(pin.type, 'nsfs');
    const [own, pods] = [`/proc/${node.daemonPid}/ns/${kind.slice(0, -2)}`, node.path(pin.mountPoint)].map((path) => statSync(path).ino);
    assert.notEqual(own, pods);
  }
  await node.client.StopPodSandbox({ podSandboxId: id });
  for (const kind of ['netns', 'ipcns', 'utsns']) assert.deepEqual(readdirSync(node.path(`/run/${kind}`)), []);
  await node.client.RemovePodSandbox({ podSandboxId: id });
});

test('[D58 D75 D76] no process runs for a pod without a shared PID namespace; its cgroup and its spec are there', async () => {
  const config = pod('spoofed');
  const id = await runSandbox(config);
  const { stdout } = await node.machine.exec(['ps', '-eo', 'comm=']);
  assert.doesNotMatch(stdout.toString('utf8'), /conmon|pause/);
  const groups = cgroupsBelow(node.machine.cgroup).filter((group) => group.endsWith(`${config.linux?.cgroupParent ?? ''}/crio-${id}`));
  assert.ok(groups.length > 0);
  const spec = JSON.parse(node.read(join(userdata(id), 'config.json'))) as { annotations: Record<string, string> };
  assert.equal(spec.annotations['spoofed.crio.io'], 'true');
  await remove(id);
});

test('[D59] a pod whose cgroup has less memory than a container’s start takes is refused; a missing cgroup is a warning', async () => {
  const config = pod('starving');
  const parent = config.linux?.cgroupParent ?? '';
  const limited = `[ -f /sys/fs/cgroup/cgroup.controllers ] && set -- /sys/fs/cgroup${parent} memory.max || set -- /sys/fs/cgroup/memory${parent} memory.limit_in_bytes`;
  await node.exec(['sh', '-ec', `${limited}; mkdir -p $1; echo 8388608 > $1/$2`]);
  const text = /^pod set memory limit 8388608 too low; should be at least 12582912 bytes/;
  await refused(node.client.RunPodSandbox({ config }), 'INVALID_ARGUMENT', text);
  await node.exec(['sh', '-ec', `${limited}; echo 16777216 > $1/$2`]);
  await remove(await runSandbox(config));
  await node.exec(['sh', '-ec', `${limited}; rmdir $1`]);
  await remove(await runSandbox(config));
  assert.match(node.log(), new RegExp(`level=warning msg="Failed to find memory\\.\\S+ at path: .*${parent}`));
});

test('[D82 D115] the verbose status shows the spec that is on disk, and the pod’s address', async () => {
  const podSandboxId = await runSandbox(pod('verbose'));
  const { info, status } = await node.client.PodSandboxStatus({ podSandboxId, verbose: true });
  const { runtimeSpec, ...more } = JSON.parse(info.get('info') ?? '') as { runtimeSpec: { annotations: Record<string, string> } };
  const saved = JSON.parse(node.read(join(userdata(podSandboxId), 'config.json'))) as typeof runtimeSpec;
  assert.deepEqual(more, {});
  assert.deepEqual(runtimeSpec, { ...saved, annotations: { ...saved.annotations, 'io.kubernetes.cri-o.IP.0': status?.network?.ip } });
  await remove(podSandboxId);
});

test('[D46 D75 D79 F59] a pod that shares its PID namespace has a pause process, which its containers see as PID 1', async () => {
  const config = pod('shared-pid');
  const shared = { ...config, linux: linux(config, { pid: NamespaceMode.POD }) };
  const container = containerConfig('c', BUSYBOX, OBEDIENT);
  const securityContext = { namespaceOptions: { pid: NamespaceMode.POD } };
  const { podSandboxId, containerId } = await runPod(node.client, shared, { ...container, linux: { ...container.linux, securityContext } });
  const { stdout } = await node.client.ExecSync({ containerId, cmd: ['cat', '/proc/1/cmdline'], timeout: 10n });
  assert.match(Buffer.from(stdout).toString('utf8'), /\/pause/);
  await remove(podSandboxId);
});

test('[D51 D100] /dev/shm of a pod is a tmpfs of 64 MiB in its run directory, and unmounted when it is stopped', async () => {
  const id = await runSandbox(pod('shm'));
  const shm = only(mounted('/run/containers').filter((mount) => mount.mountPoint.endsWith(`${id}/userdata/shm`)));
  assert.equal(shm.type, 'tmpfs');
  assert.equal(shm.source, 'shm');
  assert.match(shm.superOptions, /size=65536k/);
  assert.deepEqual(
    ['noexec', 'nosuid', 'nodev'].filter((option) => !shm.options.includes(option)),
    [],
  );
  await node.client.StopPodSandbox({ podSandboxId: id });
  assert.deepEqual(mounted(shm.mountPoint), []);
  await node.client.RemovePodSandbox({ podSandboxId: id });
});

test('[D47 D53 D54 F12 F62 F69] hostname and DNS of a pod are those of the request, in its containers too', async () => {
  const dnsConfig = {
    servers: ['10.0.0.10', '10.0.0.11'],
    searches: ['default.svc.cluster.local', 'svc.cluster.local'],
    options: ['ndots:5'],
  };
  const config = pod('named', { hostname: 'named-host', dnsConfig });
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
  const cmd = ['sh', '-c', 'hostname; cat /etc/hostname; echo $HOSTNAME; cat /etc/resolv.conf'];
  const { stdout } = await node.client.ExecSync({ containerId, cmd, timeout: 10n });
  const resolv = 'search default.svc.cluster.local svc.cluster.local\nnameserver 10.0.0.10\nnameserver 10.0.0.11\noptions ndots:5\n';
  assert.equal(Buffer.from(stdout).toString('utf8'), `named-host\nnamed-host\nnamed-host\n${resolv}`);
  await remove(podSandboxId);
});

test('[D53] a pod without a hostname takes the first 12 characters of its id', async () => {
  const { podSandboxId, containerId } = await runPod(node.client, pod('nameless'), containerConfig('c', BUSYBOX, OBEDIENT));
  const { stdout } = await node.client.ExecSync({ containerId, cmd: ['hostname'], timeout: 10n });
  assert.equal(Buffer.from(stdout).toString('utf8').trim(), podSandboxId.slice(0, 12));
  await remove(podSandboxId);
});

test('[D18] a RunPodSandbox that is sent again answers the pod that is there', async () => {
  const config = pod('again');
  const first = await runSandbox(config);
  assert.equal(await runSandbox(config), first);
  await remove(first);
});

test('[D16 D17 D18] a pod that was finished after its client had gone is kept for the retry', async () => {
  const config = pod('kept');
  const gone = new AbortController();
  const call = node.client.RunPodSandbox({ config }, { signal: gone.signal });
  setImmediate(() => gone.abort());
  await refused(call, 'CANCELLED', /.*/);
  const id = await runSandbox(config);
  const { items } = await node.client.ListPodSandbox();
  assert.equal(only(items).id, id);
  await remove(id);
});

test('[D92 D105 D110] unknown and empty pod ids', async () => {
  const nobody = 'f'.repeat(64);
  const missing = `PodSandbox with ID starting with ${nobody} not found: ID does not exist`;
  await node.client.StopPodSandbox({ podSandboxId: nobody });
  await node.client.RemovePodSandbox({ podSandboxId: nobody });
  await refused(node.client.StopPodSandbox(), 'NOT_FOUND', 'PodSandboxId should not be empty');
  await refused(node.client.RemovePodSandbox(), 'NOT_FOUND', 'PodSandboxId should not be empty');
  await refused(node.client.PodSandboxStatus({ podSandboxId: nobody }), 'NOT_FOUND', `could not find pod "${nobody}": ${missing}`);
  await refused(node.client.PodSandboxStatus(), 'NOT_FOUND', 'could not find pod "": PodSandboxId should not be empty');
});

test('[D94 D101 D111] a stopped pod is NOTREADY, keeps its address, and stopping it again is fine', async () => {
  const { podSandboxId, containerId } = await runPod(node.client, pod('stopped'), containerConfig('c', BUSYBOX, OBEDIENT));
  const { network } = await statusOf(podSandboxId);
  await node.client.StopPodSandbox({ podSandboxId });
  const status = await statusOf(podSandboxId);
  assert.equal(status.state, PodSandboxState.SANDBOX_NOTREADY);
  assert.equal(status.network?.ip, network?.ip);
  const container = await node.client.ContainerStatus({ containerId });
  assert.equal(container.status?.exitCode, 0);
  assert.ok(existsSync(node.path(join(rundata(podSandboxId), 'stopped'))));
  await node.client.StopPodSandbox({ podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D107 D152] a running pod with a running container is removed whole', async () => {
  const { podSandboxId, containerId } = await runPod(node.client, pod('forced'), containerConfig('c', BUSYBOX, OBEDIENT));
  await node.client.RemovePodSandbox({ podSandboxId });
  await refused(node.client.ContainerStatus({ containerId }), 'NOT_FOUND', /^could not find container/);
  assert.deepEqual((await node.client.ListPodSandbox()).items, []);
});

test('[D13 D116 D117] pods are listed newest first, and filtered by id prefix, state and labels', async () => {
  const labels = (value: string) => ({ labels: new Map([['tier', value]]) });
  const ids = [
    await runSandbox(pod('list-a', labels('front'))),
    await runSandbox(pod('list-b', labels('back'))),
    await runSandbox(pod('list-c')),
  ];
  const [a = '', b = '', c = ''] = ids;
  await node.client.StopPodSandbox({ podSandboxId: b });
  const list = async (filter: Parameters<typeof node.client.ListPodSandbox>[0]) =>
    (await node.client.ListPodSandbox(filter)).items.map((item) => item.id);
  assert.deepEqual(await list({}), [c, b, a]);
  assert.deepEqual(await list({ filter: { id: a.slice(0, 20) } }), [a]);
  assert.deepEqual(await list({ filter: { id: 'nothing' } }), []);
  assert.deepEqual(await list({ filter: { state: { state: PodSandboxState.SANDBOX_NOTREADY } } }), [b]);
  assert.deepEqual(await list({ filter: { labelSelector: new Map([['tier', 'front']]) } }), [a]);
  const both = { state: { state: PodSandboxState.SANDBOX_READY }, labelSelector: new Map([['tier', 'back']]) };
  assert.deepEqual(await list({ filter: both }), []);
  for (const id of ids) await remove(id);
});

test('[D31 D34] a pod without the parts of its name is refused', async () => {
  const metadata = (parts: PodInput['metadata']) => node.client.RunPodSandbox({ config: pod('x', { metadata: parts }) });
  await refused(node.client.RunPodSandbox(), 'INVALID_ARGUMENT', 'setting sandbox config: config is nil');
  await refused(node.client.RunPodSandbox({ config: {} }), 'INVALID_ARGUMENT', 'setting sandbox config: metadata is nil');
  await refused(metadata({}), 'INVALID_ARGUMENT', 'setting sandbox config: metadata.Name should not be empty');
  const prefix = 'setting pod sandbox name and id: cannot generate pod name without';
  await refused(metadata({ name: 'x', uid: 'u' }), 'INVALID_ARGUMENT', `${prefix} namespace`);
  await refused(metadata({ name: 'x', namespace: 'n' }), 'INVALID_ARGUMENT', `${prefix} uid in metadata`);
});

test('[D37] an unknown runtime handler is refused by name', async () => {
  await refused(runSandbox(pod('x'), 'gvisor'), 'INVALID_ARGUMENT', /^failed to find runtime handler gvisor from runtime list /);
});

test('[D58] a systemd slice as parent is refused under the cgroupfs manager', async () => {
  const config = pod('x', { linux: { cgroupParent: '/kubepods.slice' } });
  const text = 'cri-o configured with cgroupfs cgroup manager, but received systemd slice as parent: /kubepods.slice';
  await refused(runSandbox(config), 'INVALID_ARGUMENT', new RegExp(text));
});

test('[D60 D61 D63] sysctls of a pod hold in its namespaces only; others are skipped and the pod starts', async () => {
  const config = pod('sysctls');
  const sysctls = new Map([
    ['net.ipv4.ip_unprivileged_port_start', '79'],
    ['kernel.shm_rmid_forced', '1'],
    ['kernel.pid_max', '400'],
  ]);
  const { podSandboxId, containerId } = await runPod(
    node.client,
    { ...config, linux: { ...config.linux, sysctls } },
    containerConfig('c', BUSYBOX, OBEDIENT),
  );
  const files = ['/proc/sys/net/ipv4/ip_unprivileged_port_start', '/proc/sys/kernel/shm_rmid_forced', '/proc/sys/kernel/pid_max'];
  const inside = await node.client.ExecSync({ containerId, cmd: ['cat', ...files], timeout: 10n });
  const outside = (await node.machine.exec(['cat', ...files])).stdout.toString('utf8').split('\n');
  const [port, forced, pids] = Buffer.from(inside.stdout).toString('utf8').split('\n');
  assert.deepEqual([port, forced], ['79', '1']);
  assert.deepEqual(outside.slice(0, 2), ['1024', '0']);
  assert.equal(pids, outside[2]);
  assert.match(node.log(), /Skipping invalid sysctl.*kernel\.pid_max/);
  await remove(podSandboxId);
});

test('[D39 D113 F70] a pod on the host network has no address of its own and sees the node', async () => {
  const config = pod('on-host');
  const host = { ...config, linux: linux(config, { network: NamespaceMode.NODE }) };
  const container = containerConfig('c', BUSYBOX, OBEDIENT);
  const securityContext = { namespaceOptions: { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER } };
  const { podSandboxId, containerId } = await runPod(node.client, host, { ...container, linux: { ...container.linux, securityContext } });
  assert.equal((await statusOf(podSandboxId)).network?.ip ?? '', '');
  const { stdout } = await node.client.ExecSync({ containerId, cmd: ['readlink', '/proc/self/ns/net'], timeout: 10n });
  const { stdout: nodes } = await node.machine.exec(['readlink', '/proc/1/ns/net']);
  assert.equal(Buffer.from(stdout).toString('utf8'), nodes.toString('utf8'));
  await remove(podSandboxId);
});

test('[D121 D122] no container is created in a pod that is stopped or unknown', async () => {
  const sandboxConfig = pod('closed');
  const podSandboxId = await runSandbox(sandboxConfig);
  await node.client.StopPodSandbox({ podSandboxId });
  const config = containerConfig('c', BUSYBOX, ['true']);
  const create = (id: string) => node.client.CreateContainer({ podSandboxId: id, config, sandboxConfig });
  const code = 'FAILED_PRECONDITION';
  await refused(create(podSandboxId), code, `CreateContainer failed as the sandbox was stopped: ${podSandboxId}`);
  await refused(create('abc'), 'NOT_FOUND', /^specified sandbox not found: abc: PodSandbox with ID starting with abc not found/);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('thirty pods at a time, eight at once, and no thread of the daemon strays into a namespace of theirs', async () => {
  let next = 0;
  const ids: string[] = [];
  const worker = async () => {
    for (let n = next++; n < 30; n = next++)
      ids.push((await runPod(node.client, pod(`many-${n}`), containerConfig('c', BUSYBOX, OBEDIENT))).podSandboxId);
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  const addresses = await Promise.all(ids.map(async (id) => (await statusOf(id)).network?.ip));
  assert.equal(new Set(addresses).size, 30);
  await Promise.all(ids.map((podSandboxId) => node.client.RemovePodSandbox({ podSandboxId })));
  const pid = node.daemonPid;
  for (const kind of ['net', 'ipc', 'uts', 'mnt']) {
    const inodes = readdirSync(`/proc/${pid}/task`).map((tid) => statSync(`/proc/${pid}/task/${tid}/ns/${kind}`).ino);
    assert.equal(new Set(inodes).size, 1, `threads in different ${kind} namespaces`);
  }
});
