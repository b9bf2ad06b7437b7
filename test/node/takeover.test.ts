import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { type ContainerStatus, ContainerState, PodSandboxState } from '../../src/wire/index.ts';
import { RECORDED_IDS, conmonCommand, layCrioNode, recordedJson, recordedText } from '../harness/crio-disk.ts';
import { BUSYBOX, TestNode, imageReference } from '../harness/node.ts';

const { WEB, SHARED, MAIN, ONCE, SIDE } = RECORDED_IDS;
const node = new TestNode({ images: ['busybox'] });
let adapt: (text: string) => string;

before(async () => {
  await node.boot();
  await node.registry();
  await node.start();
  for (const name of ['busybox', 'pause'] as const) await node.client.PullImage({ image: { image: imageReference(name) } });
  await node.stop();
  await node.remember();
  adapt = await layCrioNode(node);
  await node.start();
});
after(async () => await node.end());

/** A message as crictl prints it, as far as the fields of `like` go: 64-bit numbers as text, enums by name, maps as objects. */
function asPrinted(message: unknown, like: unknown, path = ''): unknown {
  if (message instanceof Map) return Object.fromEntries(message);
  if (typeof message === 'bigint') {
    if (/^\d{4}-/.test(String(like)) && String(like).startsWith('0001')) return message === 0n ? like : String(message);
    return /^\d{4}-/.test(String(like)) ? like : String(message);
  }
  if (path.endsWith('.state') && typeof message === 'number')
    return nameOf(path.startsWith('pod') ? PodSandboxState : ContainerState, message);
  if (like === null || typeof like !== 'object') return message;
  if (Array.isArray(like)) return (message as unknown[]).map((item, n) => asPrinted(item, like[n] as unknown, path));
  const fields = message as Record<string, unknown>;
  return Object.fromEntries(Object.entries(like).map(([key, value]) => [key, asPrinted(fields[key], value, `${path}.${key}`)]));
}

function nameOf(states: Readonly<Record<string, number>>, state: number): string | undefined {
  return Object.keys(states).find((name) => states[name] === state);
}

const byId = <T extends { readonly id: string }>(list: readonly T[]): T[] => list.toSorted((a, b) => a.id.localeCompare(b.id));

test('the monitors were recorded with the command line that these here have', () => {
  for (const file of ['21374', '21519', '21713']) {
    const [, lines = ''] = /^# cmdline\n(.*?)\n# /s.exec(recordedText(`proc/${file}.txt`)) ?? [];
    const argv = lines.trim().split('\n');
    const value = (flag: string) => argv[argv.indexOf(flag) + 1] ?? '';
    assert.deepEqual(argv, conmonCommand(value('-c'), value('-n'), value('-l')));
  }
});

test('[p60 D178 D179 D180 D184 D185 D186] pods and containers of CRI-O are listed as CRI-O lists them after a restart', async () => {
  type Listed = { readonly id: string; readonly runtimeHandler?: string };
  const pods = byId((JSON.parse(adapt(recordedText('crictl/pods-after-restart.json'))) as { items: Listed[] }).items);
  const containers = byId((JSON.parse(adapt(recordedText('crictl/ps-a-after-restart.json'))) as { containers: Listed[] }).containers);
  assert.deepEqual(
    byId((await node.client.ListPodSandbox()).items).map((pod, n) => asPrinted(pod, pods[n], 'pod')),
    pods,
  );
  assert.deepEqual(
    byId((await node.client.ListContainers()).containers).map((container, n) => asPrinted(container, containers[n], 'container')),
    containers,
  );
  assert.doesNotMatch(node.log(), /Could not restore|cannot be read/);
});

test('[p60 D158 D185 D187 H58] so are their status, exit code, addresses and ports', async () => {
  for (const id of [MAIN, ONCE, SIDE]) {
    const { createdAt: _, ...recorded } = (
      JSON.parse(adapt(recordedText(`crictl/inspect-${id}.json`))) as { status: Record<string, unknown> }
    ).status;
    const { status } = await node.client.ContainerStatus({ containerId: id });
    const { user: _user, resources: _resources, stopSignal: _signal, ...like } = recorded;
    assert.deepEqual(asPrinted(status, like, 'container'), like);
    assert.equal(
      status?.resources?.linux?.memoryLimitInBytes,
      BigInt((recorded['resources'] as { linux: { memoryLimitInBytes: string } }).linux.memoryLimitInBytes),
    );
  }
  const times = (status: ContainerStatus | undefined) => [
    status?.exitCode,
    new Date(Number((status?.finishedAt ?? 0n) / 1_000_000n)).toISOString(),
  ];
  const once = recordedJson<{ status: { exitCode: number; finishedAt: string } }>(`crictl/inspect-${ONCE}.json`).status;
  assert.deepEqual(times((await node.client.ContainerStatus({ containerId: ONCE })).status), [3, `${once.finishedAt.slice(0, 23)}Z`]);
  for (const [id, ip] of [
    [WEB, '10.85.0.2'],
    [SHARED, '10.85.0.3'],
  ] as const)
    assert.equal((await node.client.PodSandboxStatus({ podSandboxId: id })).status?.network?.ip, ip);
  assert.match(
    (await node.exec(['nft', 'list', 'ruleset'])).stdout.toString('utf8'),
    /tcp \. 8080 comment "[A-Z2-7]{16}" : 10\.85\.0\.2 \. 80/,
  );
});

test('[p60 D121 D136] exec, a new container beside them, stop and removal work on what CRI-O made, and nothing is left', async () => {
  for (const containerId of [MAIN, SIDE]) {
    const { stdout } = await node.client.ExecSync({ containerId, cmd: ['hostname'], timeout: 10n });
    assert.equal(Buffer.from(stdout).toString('utf8'), containerId === MAIN ? 'web\n' : 'shared\n');
  }
  const linux = { resources: {}, securityContext: { namespaceOptions: { pid: 0 } } };
  const metadata = { name: 'shared', namespace: 'kube-system', uid: '66666666-7777-8888-9999-000000000000', attempt: 1 };
  const { containerId } = await node.client.CreateContainer({
    podSandboxId: SHARED,
    config: {
      metadata: { name: 'late', attempt: 0 },
      image: { image: BUSYBOX },
      command: ['sh', '-c', 'grep -q pause /proc/1/cmdline'],
      linux,
    },
    sandboxConfig: { metadata },
  });
  await node.client.StartContainer({ containerId });
  for (const id of [MAIN, SIDE]) {
    await node.client.StopContainer({ containerId: id, timeout: 10n });
    assert.equal((await node.client.ContainerStatus({ containerId: id })).status?.exitCode, 0, 'it obeyed');
  }
  assert.equal((await node.client.ContainerStatus({ containerId })).status?.exitCode, 0, 'it saw the pause process');
  const keysOf = (text: string) => Object.keys(JSON.parse(text) as object);
  const file = (id: string) => `/var/lib/containers/storage/overlay-containers/${id}/userdata/state.json`;
  const ended = keysOf(recordedText(`fs${file(ONCE)}`)).filter((key) => key !== 'exitCode');
  for (const id of [MAIN, SIDE])
    assert.deepEqual(
      keysOf(node.read(file(id))).filter((key) => key !== 'exitCode'),
      ended,
      'state.json has the keys of CRI-O',
    );
  await node.client.RemoveContainer({ containerId: ONCE });
  for (const podSandboxId of [WEB, SHARED]) {
    await node.client.StopPodSandbox({ podSandboxId });
    await node.client.RemovePodSandbox({ podSandboxId });
  }
  assert.deepEqual(await node.leaks(), []);
  assert.deepEqual(readdirSync(node.path('/run/runc')), []);
});
