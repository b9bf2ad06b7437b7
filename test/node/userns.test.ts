import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseMountInfo } from '../../src/linux/index.ts';
import { NamespaceMode } from '../../src/wire/index.ts';
import { only, refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, type ContainerInput, type PodInput, containerConfig, podConfig, runPod } from '../harness/pods.ts';
import { RANGE, ROOT, pidOf, sh, userPod } from '../harness/userns.ts';

const node = useNode({ images: ['busybox'] });
const STORE = '/var/lib/containers/storage';
const rundata = (id: string) => `/run/containers/storage/overlay-containers/${id}/userdata`;
const owner = (path: string) => {
  const { uid, gid } = statSync(node.path(path));
  return [uid, gid];
};
const inside = async (script: string) => (await node.exec(['sh', '-ec', script])).stdout.toString('utf8').trim();

async function remove(podSandboxId: string): Promise<void> {
  await node.client.StopPodSandbox({ podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId });
}

async function run(config: PodInput, handler = '', more: ContainerInput = {}) {
  const ids = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT, more), handler);
  return { ...ids, sh: (script: string) => sh(node.client, ids.containerId, script), remove: () => remove(ids.podSandboxId) };
}

for (const handler of ['runc', 'crun']) {
  test(`[D64 D83 G84 G92 F61] ${handler}: a pod has a user namespace of its own, pinned with the others, which it owns`, async () => {
    const pod = await run(userPod(node.machine, `own-${handler}`), handler);
    assert.match(await pod.sh('cat /proc/self/uid_map'), new RegExp(`^0 +${ROOT} +65536$`));
    assert.match(await pod.sh('cat /proc/self/gid_map'), new RegExp(`^0 +${ROOT} +65536$`));
    const kinds = ['user', 'net', 'ipc', 'uts'];
    const names = kinds.map((kind) => only(readdirSync(node.path(`/run/${kind}ns`))));
    assert.equal(new Set(names).size, 1);
    const pid = await pidOf(node.client, pod.containerId);
    for (const kind of kinds) {
      const pin = statSync(node.path(`/run/${kind}ns/${names[0]}`)).ino;
      assert.equal(await inside(`readlink /proc/${pid}/ns/${kind}`), `${kind}:[${pin}]`);
    }
    // As root of that user namespace and as nobody else: what is done here is allowed to who owns them only.
    const asRoot = `nsenter -t ${pid} -U -n -i -u --`;
    await inside(`${asRoot} hostname owned && ${asRoot} ip link set lo mtu 1400 && ${asRoot} sysctl -qw kernel.shmmni=77`);
    assert.equal(await pod.sh('hostname; cat /sys/class/net/lo/mtu; cat /proc/sys/kernel/shmmni'), 'owned\n1400\n77');
    assert.match(await pod.sh('ip -4 addr show eth0'), /inet 10\.85\./);
    const spec = JSON.parse(node.read(join(rundata(pod.containerId), 'config.json'))) as { linux: Record<string, unknown> };
    const mapping = [{ containerID: 0, hostID: ROOT, size: 65_536 }];
    assert.deepEqual([spec.linux['uidMappings'], spec.linux['gidMappings']], [mapping, mapping]);
    await node.client.StopPodSandbox({ podSandboxId: pod.podSandboxId });
    for (const kind of kinds) assert.deepEqual(readdirSync(node.path(`/run/${kind}ns`)), []);
    await pod.remove();
  });

  test(`[D52 D66 F61 G93 J35] ${handler}: the pod's root owns its files, on the host by its mapped ids`, async () => {
    const pod = await run(userPod(node.machine, `files-${handler}`), handler);
    const ids = [ROOT, ROOT];
    for (const name of ['resolv.conf', 'hostname', 'shm']) assert.deepEqual(owner(join(rundata(pod.podSandboxId), name)), ids, name);
    // What lies below the namespaces that are mounted on them.
    const pins = await inside(
      'for kind in user net ipc uts; do mkdir -p /run/look; mount --bind /run/${kind}ns /run/look; stat -c %u:%g /run/look/*; umount /run/look; done; rmdir /run/look',
    );
    assert.deepEqual(
      pins.split('\n'),
      Array.from({ length: 4 }, () => `${ROOT}:${ROOT}`),
    );
    assert.equal(await pod.sh('stat -c %u:%g / /bin/busybox /etc/mtab /etc/resolv.conf /etc/hostname /dev/shm | sort -u'), '0:0');
    await pod.sh('echo changed > /etc/passwd; echo new > /new; chown 1000:1000 /new');
    const records = JSON.parse(node.read(`${STORE}/overlay-containers/volatile-containers.json`)) as Record<string, unknown>[];
    const record = records.find(({ id }) => id === pod.containerId);
    const map = [{ container_id: 0, host_id: ROOT, size: 65_536 }];
    assert.deepEqual([record?.['uidmap'], record?.['gidmap']], [map, map]);
    const layer = join(STORE, 'overlay', String(record?.['layer']));
    assert.deepEqual(owner(join(layer, 'diff/new')), [ROOT + 1000, ROOT + 1000]);
    assert.deepEqual(owner(join(layer, 'diff/etc/passwd')), ids);
    const lower = readFileSync(node.path(join(layer, 'lower')), 'utf8').split(':')[0] ?? '';
    assert.deepEqual(owner(join(STORE, 'overlay', lower, 'etc/passwd')), [0, 0], 'the image is shared and stays as it is');
    assert.ok(!existsSync(node.path(join(layer, 'mapped'))));
    const mounts = parseMountInfo(readFileSync(`/proc/${node.machine.init}/mountinfo`, 'utf8'));
    assert.deepEqual(
      mounts.filter(({ mountPoint }) => mountPoint.includes('/mapped')),
      [],
    );
    await pod.remove();
  });

  test(`[a05 a54] ${handler}: with a user namespace and without, a container is in the cgroup that its spec names, and so is what is executed in it`, async () => {
    for (const config of [userPod(node.machine, `cgroup-user-${handler}`), podConfig(node.machine, `cgroup-host-${handler}`)]) {
      const resources = { memoryLimitInBytes: 64n * 1024n * 1024n };
      const pod = await run(config, handler, {
        linux: { resources, securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
      });
      const expected = `${config.linux?.cgroupParent ?? ''}/crio-${pod.containerId}`;
      const spec = JSON.parse(node.read(join(rundata(pod.containerId), 'config.json'))) as { linux: { cgroupsPath: string } };
      assert.equal(spec.linux.cgroupsPath, expected);
      const groupsOf = (text: string) =>
        text
          .split('\n')
          .filter((line) => /:(memory|cpu|pids|):/.test(line) && !/^0::\/$/.test(line))
          .map((line) => line.split(':')[2]);
      const pid = await pidOf(node.client, pod.containerId);
      const [first, executed] = [await inside(`cat /proc/${pid}/cgroup`), await pod.sh('cat /proc/self/cgroup')];
      assert.ok(groupsOf(first).length > 0);
      for (const group of [...groupsOf(first), ...groupsOf(executed)]) assert.equal(group, expected);
      const limit = 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max';
      assert.equal(await pod.sh(limit), String(resources.memoryLimitInBytes));
      const controller = '$([ -d /sys/fs/cgroup/memory ] && echo /sys/fs/cgroup/memory || echo /sys/fs/cgroup)';
      assert.match(await pod.sh(`mkdir ${controller}/x`), /Read-only file system/);
      assert.match(await pod.sh(`echo 1 > ${controller}/cgroup.procs`), /Read-only file system/);
      await pod.remove();
    }
  });
}

test('[D62 G101] sysctls are set inside; "all groups may ping" becomes all groups of the pod', async () => {
  const sysctls = new Map([
    ['net.ipv4.ping_group_range', '0 2147483647'],
    ['net.ipv4.ip_unprivileged_port_start', '80'],
    ['kernel.shm_rmid_forced', '1'],
  ]);
  const config = userPod(node.machine, 'sysctls');
  const pod = await run({ ...config, linux: { ...config.linux, sysctls } });
  const read = (name: string) => pod.sh(`cat /proc/sys/${name}`);
  assert.equal((await read('net/ipv4/ping_group_range')).replaceAll(/\s+/g, ' '), '0 65535');
  assert.equal(await read('net/ipv4/ip_unprivileged_port_start'), '80');
  assert.equal(await read('kernel/shm_rmid_forced'), '1');
  await pod.remove();
  const other = userPod(node.machine, 'sysctls-2');
  const narrow = await run({ ...other, linux: { ...other.linux, sysctls: new Map([['net.ipv4.ping_group_range', '5 7']]) } });
  assert.equal((await narrow.sh('cat /proc/sys/net/ipv4/ping_group_range')).replaceAll(/\s+/g, ' '), '5 7');
  await narrow.remove();
});

test('[D83 G84 G85 a12] what cannot be a user namespace is refused, and nothing stays', async () => {
  const refuse = async (usernsOptions: object, text: RegExp) => {
    const config = userPod(node.machine, 'refused', { usernsOptions });
    await refused(node.client.RunPodSandbox({ config }), 'INVALID_ARGUMENT', text);
  };
  const range = (containerId: number, hostId: number, length: number) => ({ containerId, hostId, length });
  const both = (ranges: object[]) => ({ mode: NamespaceMode.POD, uids: ranges, gids: ranges });
  await refuse({ mode: NamespaceMode.TARGET, uids: RANGE, gids: RANGE }, /^unsupported pod mode: "TARGET"/);
  await refuse({ mode: NamespaceMode.CONTAINER, uids: RANGE, gids: RANGE }, /^unsupported pod mode: "CONTAINER"/);
  await refuse({ mode: NamespaceMode.POD, uids: RANGE, gids: [] }, /^invalid group id mappings of the pod: there are none/);
  await refuse(both([range(1, 200_000, 10)]), /id 0 is not mapped/);
  await refuse(both([range(0, 200_000, 10), range(5, 300_000, 10)]), /ranges 0:200000:10 and 5:300000:10 overlap/);
  await refuse(both([range(0, 200_000, 10), range(10, 200_009, 10)]), /overlap/);
  await refuse(both([range(0, 200_000, 0)]), /0:200000:0 is not within 32 bits/);
  await refuse(both([range(0, 4_294_967_290, 10)]), /is not within 32 bits/);
  const many = Array.from({ length: 10_000 }, (_, n) => range(n, 200_000 + 2 * n, 1));
  await refuse(both(many), /10000 ranges are more than the kernel takes \(340\)/);
  await refuse(both(many.slice(0, 340)), /340 ranges are \d+ bytes of text, and the kernel takes less than 4096/);
  const { podSandboxId } = await node.client.RunPodSandbox({
    config: userPod(node.machine, 'node', { usernsOptions: { mode: NamespaceMode.NODE, uids: RANGE, gids: RANGE } }),
  });
  assert.deepEqual(readdirSync(node.path('/run/userns')), []);
  await remove(podSandboxId);
});

for (const handler of ['runc', 'crun'])
  test(`[F24 F25 G93] ${handler}: another user than root, and a privileged container, in a user namespace`, async () => {
    const securityContext = { namespaceOptions: { pid: NamespaceMode.CONTAINER } };
    const ids = { runAsUser: { value: 4242n }, runAsGroup: { value: 4343n } };
    const plain = await run(userPod(node.machine, `other-${handler}`), handler, {
      linux: { securityContext: { ...securityContext, ...ids } },
      workingDir: '/made/for/it',
    });
    assert.equal(
      await plain.sh('id -u; id -g; grep -c 4242 /etc/passwd; pwd; stat -c %u /made /etc/passwd'),
      '4242\n4343\n1\n/made/for/it\n0\n0',
    );
    assert.equal(await plain.sh('echo opened > /dev/stdout'), 'opened', 'a command owns what it writes to');
    const pid = await pidOf(node.client, plain.containerId);
    assert.match(await inside(`grep ^Uid: /proc/${pid}/status`), new RegExp(`${ROOT + 4242}`));
    await plain.remove();
    const config = userPod(node.machine, `privileged-${handler}`);
    const privileged = { ...config.linux?.securityContext, privileged: true };
    const pod = await run({ ...config, linux: { ...config.linux, securityContext: privileged } }, handler, {
      linux: { securityContext: { ...securityContext, privileged: true } },
    });
    assert.match(await pod.sh('cat /proc/self/uid_map; ls /dev/kmsg /dev/null'), new RegExp(`^0 +${ROOT} +65536\n/dev/kmsg\n/dev/null$`));
    // All capabilities, but those of the pod's user namespace: its network is its own, the node's settings are not.
    assert.equal(await pod.sh('ip link set lo mtu 1300 && cat /sys/class/net/lo/mtu'), '1300');
    assert.match(await pod.sh('echo 1 > /proc/sys/vm/swappiness'), /Permission denied|Read-only/);
    await pod.remove();
  });

test('[p49] maps in pieces, up to as many as the kernel takes, are no matter', async () => {
  const ranges = Array.from({ length: 340 }, (_, n) => ({ containerId: n, hostId: 2000 + 2 * n, length: 1 }));
  const usernsOptions = { mode: NamespaceMode.POD, uids: ranges, gids: ranges };
  const pod = await run(userPod(node.machine, 'pieces', { usernsOptions }), 'crun');
  assert.equal(await pod.sh('wc -l < /proc/self/uid_map'), '340');
  await pod.sh('touch /f; chown 339:338 /f');
  assert.equal(await pod.sh('stat -c %u:%g /f'), '339:338');
  await pod.remove();
});

test('[H54] kill -9 of the daemon: the pod goes on, tells its ids, takes another container, and leaves nothing', async () => {
  const config = userPod(node.machine, 'survivor');
  const pod = await run(config);
  const before = await node.client.PodSandboxStatus({ podSandboxId: pod.podSandboxId });
  await node.kill9();
  await node.start();
  const after = await node.client.PodSandboxStatus({ podSandboxId: pod.podSandboxId });
  assert.deepEqual(after.status?.linux?.namespaces, before.status?.linux?.namespaces);
  assert.deepEqual(after.status?.linux?.namespaces?.options?.usernsOptions?.uids, RANGE);
  assert.match(await pod.sh('cat /proc/self/uid_map'), new RegExp(`^0 +${ROOT} `));
  const { containerId } = await node.client.CreateContainer({
    podSandboxId: pod.podSandboxId,
    config: containerConfig('later', BUSYBOX, OBEDIENT),
    sandboxConfig: config,
  });
  await node.client.StartContainer({ containerId });
  assert.equal(
    await sh(node.client, containerId, 'stat -c %u / && cat /proc/self/uid_map'),
    await pod.sh('stat -c %u / && cat /proc/self/uid_map'),
  );
  const pids = [await pidOf(node.client, containerId), await pidOf(node.client, pod.containerId)];
  assert.equal(await inside(`readlink /proc/${pids[0]}/ns/user`), await inside(`readlink /proc/${pids[1]}/ns/user`));
  await pod.remove();
});

test('[D91] a restored pod whose ids nobody knows any more takes no container', async () => {
  const config = userPod(node.machine, 'forgotten');
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  await node.kill9();
  const file = `${STORE}/overlay-containers/${podSandboxId}/userdata/config.json`;
  const spec = JSON.parse(node.read(file)) as { linux: Record<string, unknown> };
  delete spec.linux['uidMappings'];
  node.write(file, JSON.stringify(spec));
  await node.start();
  const create = node.client.CreateContainer({ podSandboxId, config: containerConfig('c', BUSYBOX, OBEDIENT), sandboxConfig: config });
  await refused(create, 'FAILED_PRECONDITION', /^infra container not found/);
  await remove(podSandboxId);
});

test('a pod whose config.json is damaged goes with its user namespace', async () => {
  const pod = await run(userPod(node.machine, 'damaged'));
  await node.kill9();
  node.write(`${STORE}/overlay-containers/${pod.podSandboxId}/userdata/config.json`, '{');
  await node.start();
  await node.client.RemovePodSandbox({ podSandboxId: pod.podSandboxId });
  assert.deepEqual(readdirSync(node.path('/run/userns')), []);
});
