/** The network of pods as a kubelet meets it: pins, marks, host ports and their ends, through the daemon. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, rmdirSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { beforeEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { NamespaceMode, Protocol } from '../../src/wire/index.ts';
import { only, refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, runPod } from '../harness/pods.ts';

const BIN = '/var/lib/watch/bin';
/**
 * The bridge network, and behind it a plugin that notes what it was asked and what it found at CNI_NETNS; it does what
 * /var/lib/watch/<command> says.
 */
const WATCH = `#!/bin/sh
input=$(cat)
[ "$CNI_COMMAND" = VERSION ] && echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}' && exit
echo "$CNI_COMMAND $(stat -f -c %T "$CNI_NETNS" 2>/dev/null || echo nothing) $CNI_NETNS" >> /var/lib/watch/calls
[ -e "/var/lib/watch/$CNI_COMMAND" ] && . "/var/lib/watch/$CNI_COMMAND"
[ "$CNI_COMMAND" = ADD ] && echo "$input" | sed 's/.*"prevResult"://; s/}$//'
exit 0
`;
const NETWORK = {
  cniVersion: '1.0.0',
  name: 'crio',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      ipMasq: true,
      hairpinMode: true,
      ipam: { type: 'host-local', routes: [{ dst: '0.0.0.0/0' }], ranges: [[{ subnet: '10.85.0.0/16' }]] },
    },
    { type: 'watch' },
  ],
};

const node = useNode({
  images: ['busybox'],
  config: `[crio.network]\nplugin_dirs = ["${BIN}", "/usr/lib/cni"]\n[crio.runtime.runtimes.broken]\nruntime_path = "/var/lib/watch/broken"\nruntime_root = "/run/broken"\n`,
  files: {
    '/etc/cni/net.d/10-bridge.conflist': JSON.stringify(NETWORK),
    [`${BIN}/watch`]: WATCH,
    // A runtime that does everything but create.
    '/var/lib/watch/broken':
      '#!/bin/sh\ncase " $* " in *" create "*) echo "no create today" >&2; exit 1 ;; esac\nexec /usr/sbin/runc "$@"\n',
  },
});

const pod = (name: string, more: PodInput = {}) => podConfig(node.machine, name, more);

function on(config: PodInput, namespaces: { network?: NamespaceMode; pid?: NamespaceMode }): PodInput {
  const namespaceOptions = { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid: NamespaceMode.CONTAINER, ...namespaces };
  return { ...config, linux: { ...config.linux, securityContext: { namespaceOptions } } };
}

/** What the plugin was asked since the test began: command, kind of file system at the namespace's path, path. */
function calls(): string[] {
  return existsSync(node.path('/var/lib/watch/calls')) ? node.read('/var/lib/watch/calls').trim().split('\n') : [];
}

beforeEach(() => {
  for (const file of ['calls', 'ADD', 'DEL', 'CHECK', 'go']) rmSync(node.path(`/var/lib/watch/${file}`), { force: true });
});

async function remove(podSandboxId: string): Promise<void> {
  await node.client.RemovePodSandbox({ podSandboxId });
}

interface Spec {
  readonly annotations: Readonly<Record<string, string>>;
  readonly linux: { readonly namespaces: readonly { readonly type: string; readonly path?: string }[] };
}

function specOf(id: string): Spec {
  return JSON.parse(node.read(`/var/lib/containers/storage/overlay-containers/${id}/userdata/config.json`)) as Spec;
}

const pins = (kind: string) => readdirSync(node.path(`/run/${kind}`));

async function nodeSays(...argv: string[]): Promise<string> {
  return (await node.machine.exec(argv)).stdout.toString('utf8').trim();
}

test('[H21] the network namespace is pinned before ADD, under one random name for all namespaces of the pod', async () => {
  const { podSandboxId } = await node.client.RunPodSandbox({ config: pod('pinned') });
  const [add = ''] = calls();
  assert.match(add, /^ADD nsfs \/var\/run\/netns\/[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/);
  for (const kind of ['netns', 'ipcns', 'utsns']) assert.equal(only(pins(kind)), basename(add));
  assert.equal(specOf(podSandboxId).linux.namespaces.find(({ type }) => type === 'network')?.path, add.split(' ')[2]);
  await remove(podSandboxId);
});

test('[H22] [H46] a pod on the host network pins the host’s namespace, its spec names the pin, its containers have no network namespace, no plugin is asked', async () => {
  const config = on(pod('on-host'), { network: NamespaceMode.NODE });
  const container = containerConfig('c', BUSYBOX, OBEDIENT);
  const securityContext = { namespaceOptions: { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER } };
  const { podSandboxId, containerId } = await runPod(node.client, config, { ...container, linux: { ...container.linux, securityContext } });
  const pin = `/run/netns/${only(pins('netns'))}`;
  assert.equal(statSync(node.path(pin)).ino, statSync(`/proc/${node.machine.init}/ns/net`).ino);
  assert.equal(specOf(podSandboxId).linux.namespaces.find(({ type }) => type === 'network')?.path, `/var${pin}`);
  assert.equal(
    specOf(containerId).linux.namespaces.some(({ type }) => type === 'network'),
    false,
  );
  await node.restart();
  await node.client.StopPodSandbox({ podSandboxId });
  assert.deepEqual(pins('netns'), []);
  await remove(podSandboxId);
  assert.deepEqual(calls(), []);
});

test('[H24] a sysctl is written inside the pod’s namespaces, dots for slashes; a value that the kernel refuses fails the pod and leaves no pin', async () => {
  const key = '/proc/sys/net/ipv4/conf/all/log_martians';
  const before = await nodeSays('cat', key);
  const config = pod('martians');
  const withSysctl = (value: string) => ({
    ...config,
    linux: { ...config.linux, sysctls: new Map([['net.ipv4.conf.all.log_martians', value]]) },
  });
  await refused(node.client.RunPodSandbox({ config: withSysctl('many') }), 'INVALID_ARGUMENT', /net\.ipv4\.conf\.all\.log_martians/);
  for (const kind of ['netns', 'ipcns', 'utsns']) assert.deepEqual(pins(kind), []);
  const value = before === '1' ? '0' : '1';
  const { podSandboxId } = await node.client.RunPodSandbox({ config: withSysctl(value) });
  assert.equal(await nodeSays('nsenter', `--net=/run/netns/${only(pins('netns'))}`, 'cat', key), value);
  assert.equal(await nodeSays('cat', key), before);
  await remove(podSandboxId);
});

test('[H46] a network that was taken down once is marked, and no later daemon asks the plugins again', async () => {
  const shared = on(pod('marked'), { pid: NamespaceMode.POD });
  for (const config of [shared, pod('marked-too')]) {
    const { podSandboxId } = await node.client.RunPodSandbox({ config });
    await node.client.StopPodSandbox({ podSandboxId });
    const directory = config === shared ? '/var/lib/containers/storage' : '/run/containers/storage';
    const mark = `${directory}/overlay-containers/${podSandboxId}/userdata/network-stopped`;
    assert.equal(node.read(mark), '');
    const asked = calls().length;
    await node.restart();
    await node.client.StopPodSandbox({ podSandboxId });
    await remove(podSandboxId);
    assert.equal(calls().length, asked);
  }
});

test('[H53] a pod that fails after its network is up loses the network first, then the namespaces', async () => {
  const config = on(pod('fails'), { pid: NamespaceMode.POD });
  await refused(node.client.RunPodSandbox({ config, runtimeHandler: 'broken' }), 'UNKNOWN', /no create today/);
  const [add = '', ...later] = calls();
  assert.ok(add.startsWith('ADD nsfs '));
  assert.deepEqual(later, [add.replace('ADD', 'DEL')]);
  for (const kind of ['netns', 'ipcns', 'utsns']) assert.deepEqual(pins(kind), []);
});

test('[H52] [p29] pins and /dev/shm that another mount namespace has copies of, or that are mounted twice, go at once and everywhere', async () => {
  const config = on(pod('busy'), { pid: NamespaceMode.POD });
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
  const name = only(pins('netns'));
  const shm = `/run/containers/storage/overlay-containers/${podSandboxId}/userdata/shm`;
  const holder = node.machine.spawn(['unshare', '--mount', '--propagation', 'private', 'sleep', 'infinity'], 'ignore');
  const copies = async () => {
    const pid = node.machine.pidOf(holder);
    return pid === undefined
      ? []
      : readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
          .split('\n')
          .filter((line) => line.includes(name) || line.includes(shm));
  };
  while ((await copies()).length < 4) await delay(20);
  for (const path of [`/run/netns/${name}`, shm]) await nodeSays('mount', '--bind', path, path);
  await node.client.StopPodSandbox({ podSandboxId });
  for (const kind of ['netns', 'ipcns', 'utsns']) assert.deepEqual(pins(kind), []);
  assert.equal(existsSync(node.path(shm)), false);
  assert.deepEqual(await copies(), []);
  await remove(podSandboxId);
  process.kill(node.machine.pidOf(holder) ?? 0, 'SIGKILL');
  await refused(node.client.ContainerStatus({ containerId }), 'NOT_FOUND', /./);
});

test('[H52] what cannot be removed of the namespaces fails the stop by name; the removal tries again', async () => {
  const { podSandboxId } = await node.client.RunPodSandbox({ config: pod('stuck') });
  const pin = `/run/utsns/${only(pins('utsns'))}`;
  await nodeSays('umount', pin);
  rmSync(node.path(pin));
  mkdirSync(node.path(pin));
  const text = new RegExp(
    `unable to remove managed namespaces: removing namespaces encountered the following errors \\[.*${basename(pin)}`,
  );
  await refused(node.client.StopPodSandbox({ podSandboxId }), 'UNKNOWN', text);
  assert.deepEqual(pins('netns'), []);
  rmdirSync(node.path(pin));
  await remove(podSandboxId);
});

test('[H60] [D56] port mappings are kept by protocol name, without those that have no host port', async () => {
  const portMappings = [
    { hostPort: 8080, containerPort: 80, protocol: Protocol.TCP },
    { hostPort: 5353, containerPort: 53, protocol: Protocol.UDP, hostIp: '127.0.0.1' },
    { hostPort: 3868, containerPort: 3868, protocol: Protocol.SCTP },
    { hostPort: 0, containerPort: 9999, protocol: Protocol.TCP },
  ];
  const { podSandboxId } = await node.client.RunPodSandbox({ config: pod('mapped', { portMappings }) });
  assert.deepEqual(JSON.parse(specOf(podSandboxId).annotations['io.kubernetes.cri-o.PortMappings'] ?? ''), [
    { HostPort: 8080, ContainerPort: 80, Protocol: 'TCP', HostIP: '' },
    { HostPort: 5353, ContainerPort: 53, Protocol: 'UDP', HostIP: '127.0.0.1' },
    { HostPort: 3868, ContainerPort: 3868, Protocol: 'SCTP', HostIP: '' },
  ]);
  const table = await nodeSays('nft', 'list', 'table', 'ip', 'crio-hostports');
  for (const element of ['tcp . 8080 ', '127.0.0.1 . udp . 5353 ', 'sctp . 3868 ']) assert.ok(table.includes(element), element);
  await remove(podSandboxId);
});

test('[H78] a host port is opened although a process of the host listens on it; the daemon itself listens on none', async () => {
  const server = node.machine.spawn(['busybox', 'httpd', '-f', '-p', '9090'], 'ignore');
  while (!(await nodeSays('ss', '-ltnH')).includes(':9090')) await delay(20);
  const config = pod('taken', {
    portMappings: [
      { hostPort: 9090, containerPort: 80 },
      { hostPort: 9191, containerPort: 80 },
    ],
  });
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  const listening = await nodeSays('ss', '-ltnH');
  assert.equal(listening.match(/:9090\b/g)?.length, 1);
  assert.doesNotMatch(listening, /:9191\b/);
  process.kill(node.machine.pidOf(server) ?? 0, 'SIGKILL');
  await remove(podSandboxId);
});

test('[H79] a new daemon leaves the rules of host ports as it finds them', async () => {
  const config = (name: string, hostPort: number) => pod(name, { portMappings: [{ hostPort, containerPort: 80 }] });
  const kept = await node.client.RunPodSandbox({ config: config('kept', 8081) });
  const lost = await node.client.RunPodSandbox({ config: config('lost', 8082) });
  await nodeSays('nft', 'delete', 'element', 'ip', 'crio-hostports', 'hostports', '{ tcp . 8082 }');
  const before = await nodeSays('nft', 'list', 'table', 'ip', 'crio-hostports');
  await node.restart();
  assert.equal(await nodeSays('nft', 'list', 'table', 'ip', 'crio-hostports'), before);
  for (const { podSandboxId } of [kept, lost]) await remove(podSandboxId);
});

test('[p35] [H37] a plugin that hangs in DEL: other pods come and go, reads answer, retries of the stop start no second plugin', async () => {
  const { podSandboxId } = await node.client.RunPodSandbox({ config: pod('hangs') });
  node.write('/var/lib/watch/DEL', `[ "$CNI_CONTAINERID" = ${podSandboxId} ] && until [ -e /var/lib/watch/go ]; do sleep 0.05; done`);
  const stopping = node.client.StopPodSandbox({ podSandboxId }, { timeoutMs: 500 });
  await refused(stopping, 'DEADLINE_EXCEEDED', /./);
  for (let tries = 0; tries < 3; tries++)
    await refused(node.client.StopPodSandbox({ podSandboxId }, { timeoutMs: 200 }), 'DEADLINE_EXCEEDED', /./);
  const other = await runPod(node.client, pod('other'), containerConfig('c', BUSYBOX, OBEDIENT));
  for (let reads = 0; reads < 20; reads++) {
    const began = performance.now();
    await Promise.all([
      node.client.ListPodSandbox(),
      node.client.PodSandboxStatus({ podSandboxId }),
      node.client.ListContainers(),
      node.client.Status(),
    ]);
    assert.ok(performance.now() - began < 2000, 'a read waited for the plugin');
  }
  await remove(other.podSandboxId);
  const hanging = calls().filter((call) => call.startsWith('DEL'));
  assert.equal(hanging.length, 2, hanging.join('\n'));
  node.write('/var/lib/watch/go', '');
  await node.client.StopPodSandbox({ podSandboxId });
  await remove(podSandboxId);
});
