import assert from 'node:assert/strict';
import { lstatSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { NamespaceMode } from '../../src/wire/index.ts';
import { RECORDED_IDS, recordedText } from '../harness/crio-disk.ts';
import { eventually } from '../harness/expect.ts';
import { BUSYBOX, TestNode, imageReference } from '../harness/node.ts';
import type { ContainerInput, PodInput } from '../harness/pods.ts';

const { WEB, SHARED, MAIN, ONCE, SIDE } = RECORDED_IDS;
const STORE = '/var/lib/containers/storage';
const RUN = '/run/containers/storage';
const CONFLIST = recordedText('fs/10-bridge.conflist');
const node = new TestNode({ images: ['busybox'], files: { '/etc/cni/net.d/10-bridge.conflist': CONFLIST } });
/** Ours by theirs. */
const ids = new Map<string, string>();

/** The two pods that were recorded, made by us. */
before(async () => {
  await node.boot();
  await node.registry();
  await node.start();
  for (const name of ['busybox', 'pause'] as const) await node.client.PullImage({ image: { image: imageReference(name) } });
  const web = pod('web', 'default', '11111111-2222-3333-4444-555555555555', 0, NamespaceMode.CONTAINER, {
    portMappings: [{ hostPort: 8080, containerPort: 80 }],
    annotations: new Map([['example.com/note', 'kept as it is']]),
  });
  const sysctls = new Map([['net.ipv4.ip_unprivileged_port_start', '0']]);
  const shared = pod('shared', 'kube-system', '66666666-7777-8888-9999-000000000000', 1, NamespaceMode.POD, {});
  const webConfig = { ...web, linux: { ...web.linux, sysctls } };
  await run(WEB, webConfig, []);
  await run(SHARED, shared, []);
  const loop = "trap 'exit 0' TERM; while :; do sleep 1; done";
  await run(MAIN, webConfig, ['main', '0', loop], WEB);
  await run(ONCE, webConfig, ['once', '0', 'exit 3'], WEB);
  await run(SIDE, shared, ['side', '2', loop], SHARED);
  await eventually(
    'it has ended',
    async () => (await node.client.ContainerStatus({ containerId: ids.get(ONCE) ?? '' })).status?.exitCode === 3,
  );
  await node.kill9();
});
after(async () => await node.end());

function pod(name: string, namespace: string, uid: string, attempt: number, pid: number, more: PodInput): PodInput {
  const labels = new Map([
    ['io.kubernetes.pod.name', name],
    ['io.kubernetes.pod.namespace', namespace],
    ['io.kubernetes.pod.uid', uid],
    ...(name === 'web' ? ([['app', 'web']] as const) : []),
  ]);
  const namespaceOptions = { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid };
  return {
    metadata: { name, namespace, uid, attempt },
    hostname: name,
    labels,
    logDirectory: `/var/log/pods/${namespace}_${name}_${uid}`,
    linux: { cgroupParent: `${node.machine.cgroup}/pod${uid}`, securityContext: { namespaceOptions } },
    ...more,
  };
}

async function run(
  recorded: string,
  sandboxConfig: PodInput,
  [name = '', attempt = '', script = '']: string[],
  inPod?: string,
): Promise<void> {
  if (inPod === undefined) {
    ids.set(recorded, (await node.client.RunPodSandbox({ config: sandboxConfig })).podSandboxId);
    return;
  }
  const labels = new Map([...(sandboxConfig.labels ?? []), ['io.kubernetes.container.name', name]] as [string, string][]);
  labels.delete('app');
  const config: ContainerInput = {
    metadata: { name, attempt: Number(attempt) },
    image: { image: BUSYBOX },
    command: ['/bin/sh', '-c', script],
    labels,
    annotations: new Map([['io.kubernetes.container.restartCount', attempt]]),
    logPath: `${name}/${attempt}.log`,
    linux: {
      resources: { cpuShares: 256n, memoryLimitInBytes: 134217728n, oomScoreAdj: 500n },
      securityContext: { namespaceOptions: { pid: sandboxConfig.linux?.securityContext?.namespaceOptions?.pid ?? 0 } },
    },
  };
  const { containerId } = await node.client.CreateContainer({ podSandboxId: ids.get(inPod) ?? '', config, sandboxConfig });
  ids.set(recorded, containerId);
  await node.client.StartContainer({ containerId });
}

const ours = (text: string): string => [...ids].reduce((all, [from, to]) => all.replaceAll(from, to), text);
const recordedRecords = (path: string) => JSON.parse(recordedText(`fs${path}`)) as Record<string, unknown>[];
const records = (path: string) => JSON.parse(node.read(path)) as Record<string, unknown>[];

test('[p60 J22 D174] every file of pods and containers lies where CRI-O has it, with its kind, mode and owner; there is none besides', () => {
  const about = /^(\S{10}) (\S+) \d+ (\w) ((?:run|var)\/\S+)/;
  const expected = new Map<string, string>();
  for (const line of recordedText('tree.txt').split('\n')) {
    const [, mode = '', owner = '', kind = '', path = ''] = about.exec(line) ?? [];
    // The layers have ids of their own on each node; the socket goes with the daemon.
    if (![...ids.keys()].some((id) => path.includes(id)) || path.startsWith('run/runc')) continue;
    expected.set(ours(`/${path}`), `${mode} ${owner} ${kind}`);
  }
  assert.ok(expected.size > 50);
  const found = new Map([...expected.keys()].map((path) => [path, describe(path)]));
  assert.deepEqual(Object.fromEntries(found), Object.fromEntries(expected));
  const besides = [...ids.values()].flatMap((id) =>
    [STORE, RUN].flatMap((root) => {
      const directory = `${root}/overlay-containers/${id}/userdata`;
      return readdirSync(node.path(directory))
        .map((name) => `${directory}/${name}`)
        .filter((path) => !expected.has(path));
    }),
  );
  assert.deepEqual(besides, []);
});

function describe(path: string): string {
  const stat = lstatSync(node.path(path), { throwIfNoEntry: false });
  if (stat === undefined) return 'missing';
  const kind = [stat.isDirectory() && 'd', stat.isSymbolicLink() && 'l', stat.isSocket() && 's', stat.isFIFO() && 'p'].find(Boolean) || 'f';
  const bits = 'rwxrwxrwx'
    .split('')
    .map((letter, n) => ((stat.mode >> (8 - n)) & 1 ? letter : '-'))
    .join('');
  const sticky = stat.mode & 0o1000 ? bits.replace(/x$/, 't') : bits;
  const owner = stat.uid === 0 && stat.gid === 0 ? 'root:root' : `${stat.uid}:${stat.gid}`;
  return `${kind === 'f' ? '-' : kind}${sticky} ${owner} ${kind}`;
}

test('[p60 J13 J14] records of the storage have the keys, the order and the metadata of CRI-O', () => {
  for (const file of [
    `${STORE}/overlay-containers/volatile-containers.json`,
    `${STORE}/overlay-layers/volatile-layers.json`,
    `${RUN}/overlay-layers/mountpoints.json`,
  ]) {
    const [theirs, mine] = [recordedRecords(file), records(file)];
    assert.equal(mine.length, theirs.length, file);
    for (const [n, record] of mine.entries()) assert.deepEqual(shape(record), shape(theirs[n] ?? {}), `${file} ${n}`);
  }
});

/** Keys in their order, those of JSON in texts too; and of values that are not a node's own. */
function shape(value: unknown): unknown {
  if (typeof value === 'string' && value.startsWith('{')) return shape(JSON.parse(value));
  if (Array.isArray(value)) return value.map(shape);
  if (value === null || typeof value !== 'object') return typeof value;
  return Object.entries(value).map(([key, item]) => [key, shape(item)]);
}

test('[p60 D174] state.json has the keys of CRI-O in its order', () => {
  for (const id of [MAIN, ONCE, SIDE, SHARED]) {
    const file = `${STORE}/overlay-containers/${id}/userdata/state.json`;
    const keys = (text: string) => Object.keys(JSON.parse(text) as object);
    assert.deepEqual(keys(node.read(ours(file))), keys(recordedText(`fs${file}`)), id);
  }
  const spoofed = `${RUN}/overlay-containers/${WEB}/userdata/state.json`;
  assert.deepEqual(shape(JSON.parse(node.read(ours(spoofed)))), shape(JSON.parse(recordedText(`fs${spoofed}`))));
});

test('[p60 D179 F114] config.json has the sections of CRI-O in its order, and its annotations', () => {
  for (const id of [WEB, SHARED, MAIN, ONCE, SIDE]) {
    const file = `${STORE}/overlay-containers/${id}/userdata/config.json`;
    const [theirs, mine] = [recordedText(`fs${file}`), node.read(ours(file))].map(
      (text) => JSON.parse(text) as { annotations: object; linux: object },
    ) as [{ annotations: object; linux: object }, { annotations: object; linux: object }];
    assert.deepEqual(Object.keys(mine), Object.keys(theirs), id);
    assert.deepEqual(Object.keys(mine.annotations).toSorted(), Object.keys(theirs.annotations).toSorted(), id);
    assert.deepEqual(Object.keys(mine.linux), Object.keys(theirs.linux), id);
    assert.equal(
      readFileSync(join(node.path(RUN), 'overlay-containers', ids.get(id) ?? '', 'userdata/config.json'), 'utf8'),
      node.read(ours(file)),
    );
  }
});

test('[p60 H40] so has the CNI cache, and the version file CRI-O’s major and minor', () => {
  for (const id of [WEB, SHARED]) {
    const file = `/var/lib/cni/results/crio-bridge-${id}-eth0`;
    const read = (text: string) => JSON.parse(text) as { readonly config: string; readonly netnsId?: string };
    const [theirs, mine] = [read(recordedText(`fs${file}`)), read(node.read(ours(file)))];
    const { netnsId: _, ...shared } = mine; // Ours alone, at the end: other readers pass over it.
    assert.deepEqual(shape(shared), shape(theirs));
    assert.equal(mine.config, theirs.config);
  }
  const minor = (text: string) => /^"(\d+\.\d+)\.\d+\+\S+"$/.exec(text)?.[1];
  assert.equal(minor(node.read('/run/crio/version')), minor(recordedText('fs/run/crio/version')));
});
