import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { NamespaceMode } from '../../src/wire/index.ts';
import { refused } from '../harness/expect.ts';
import { BUSYBOX, TestNode, imageReference, useNode } from '../harness/node.ts';
import { OBEDIENT, type ContainerInput, containerConfig, podConfig, runPod } from '../harness/pods.ts';
import { testingPackage } from '../harness/testing-package.ts';
import { RANGE, ROOT, sh, userPod } from '../harness/userns.ts';

interface RuntimeFeatures {
  readonly mountOptions?: readonly string[];
  readonly linux?: { readonly mountExtensions?: { readonly idmap?: { readonly enabled?: boolean } } };
}

const WEB = imageReference('web');
const VOLUME = '/var/lib/kubelet/volume';

/** A directory of the node, made as a kubelet makes a volume, and its mount with the pod's ids. */
function volume(node: TestNode, path = VOLUME): ContainerInput {
  const directory = node.path(path);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'old'), '');
  return { mounts: [{ containerPath: '/volume', hostPath: path, uidMappings: RANGE, gidMappings: RANGE }] };
}

/** A pod that writes into its volume: the ids are the same inside and outside, as if there were no user namespace. */
async function checkVolume(node: TestNode, handler: string, path = VOLUME): Promise<void> {
  const config = userPod(node.machine, `volume-${handler}`);
  const ids = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT, volume(node, path)), handler);
  assert.equal(
    await sh(
      node.client,
      ids.containerId,
      'stat -c %u:%g /volume/old; touch /volume/new; chown 5:6 /volume/new; stat -c %u:%g / /volume/new',
    ),
    '0:0\n0:0\n5:6',
  );
  const { uid, gid } = statSync(node.path(join(path, 'new')));
  assert.deepEqual([uid, gid], [5, 6]);
  await node.client.StopPodSandbox({ podSandboxId: ids.podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId: ids.podSandboxId });
}

async function features(node: TestNode) {
  const { runtimeHandlers, features } = await node.client.Status({});
  const claims = runtimeHandlers.map(({ name, features }) => [name, features?.userNamespaces, features?.recursiveReadOnlyMounts] as const);
  return { features, claims };
}

describe('with the runtimes of Debian 12', () => {
  const node = useNode({ images: ['busybox', 'web'] });

  test('[B115 G94 G96 K18] user namespaces are claimed for a handler that maps the ids of volumes: crun does, this runc does not', async () => {
    const { features: all, claims } = await features(node);
    assert.deepEqual(claims, [
      ['crun', true, false],
      ['runc', false, true],
      ['', false, true],
    ]);
    assert.deepEqual([all?.supplementalGroupsPolicy, all?.userNamespacesHostNetwork], [true, true]);
  });

  test('[F84] crun: a volume with mapped ids', async () => {
    await checkVolume(node, 'crun');
  });

  test('[F84 G94] runc of Debian 12 would mount such a volume unmapped: refused', async () => {
    const config = userPod(node.machine, 'unmapped');
    const { podSandboxId } = await node.client.RunPodSandbox({ config });
    const container = containerConfig('c', BUSYBOX, OBEDIENT, volume(node));
    await refused(
      node.client.CreateContainer({ podSandboxId, config: container, sandboxConfig: config }),
      'UNKNOWN',
      /^idmap mounts specified but OCI runtime does not support them\. Perhaps the OCI runtime is too old/,
    );
    await node.client.RemovePodSandbox({ podSandboxId });
  });

  test('[p49] a volume on a file system without id-mapped mounts: the error names it, and what is missing', async () => {
    await node.machine.exec(['sh', '-c', 'mkdir -p /run/plain && mount -t ramfs ramfs /run/plain']);
    const config = userPod(node.machine, 'no-idmap');
    const { podSandboxId } = await node.client.RunPodSandbox({ config, runtimeHandler: 'crun' });
    const container = containerConfig('c', BUSYBOX, OBEDIENT, volume(node, '/run/plain/volume'));
    await refused(
      node.client.CreateContainer({ podSandboxId, config: container, sandboxConfig: config }),
      'FAILED_PRECONDITION',
      /^the ids of volume "\/run\/plain\/volume" cannot be mapped: .*ramfs/,
    );
    await node.client.RemovePodSandbox({ podSandboxId });
    await node.machine.exec(['umount', '/run/plain']);
  });

  for (const handler of ['runc', 'crun'])
    test(`[F91 F92] ${handler}: an image as a volume belongs to the pod’s root, with its sub paths`, async () => {
      const config = userPod(node.machine, `image-${handler}`);
      const image = { image: WEB };
      const mounts = [
        { containerPath: '/image', image, readonly: true },
        { containerPath: '/bin-only', image, imageSubPath: 'bin', readonly: true, uidMappings: RANGE, gidMappings: RANGE },
      ];
      const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT, { mounts }), handler);
      assert.equal(await sh(node.client, containerId, 'stat -c %u:%g /image /image/bin /bin-only /bin-only/busybox | sort -u'), '0:0');
      assert.equal(await sh(node.client, containerId, '/bin-only/busybox echo runs'), 'runs');
      assert.match(await sh(node.client, containerId, 'touch /image/x'), /Read-only file system/);
      await node.client.RemovePodSandbox({ podSandboxId });
    });

  test('a pod in the host’s user namespace may have such a volume too', async () => {
    const config = podConfig(node.machine, 'host');
    const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT, volume(node)), 'crun');
    assert.equal(await sh(node.client, containerId, 'stat -c %u:%g /volume/old'), `${ROOT}:${ROOT}`);
    await node.client.RemovePodSandbox({ podSandboxId });
  });
});

describe('with newer runtimes', () => {
  const next = '[crio.runtime.runtimes.next]\nruntime_path = "/opt/next/runc"\nruntime_root = "/run/next"\n';
  const node = new TestNode({ images: ['busybox'], newerDebian: true, config: next });
  before(async () => {
    await node.boot();
    // runc 1.3, which maps ids; its libraries are this root's.
    const runc = join(await testingPackage('runc', 'runc'), 'usr/sbin/runc');
    mkdirSync(node.path('/opt/next'), { recursive: true });
    copyFileSync(runc, node.path('/opt/next/runc'));
    await node.registry();
    await node.start();
    await node.client.PullImage({ image: { image: BUSYBOX } });
  });
  after(async () => await node.end());

  test('[B115 G96 K18] what a runtime says of itself is told', async () => {
    const { claims } = await features(node);
    for (const [handler, path] of [
      ['crun', 'crun'],
      ['next', '/opt/next/runc'],
      ['runc', 'runc'],
      ['', 'runc'],
    ] as const) {
      const said = JSON.parse((await node.exec([path, 'features'])).stdout.toString('utf8')) as RuntimeFeatures;
      const idmap = said.linux?.mountExtensions?.idmap?.enabled === true;
      assert.deepEqual(
        claims.find(([name]) => name === handler),
        [handler, idmap, said.mountOptions?.includes('rro') === true],
      );
    }
    assert.deepEqual(
      claims.map(([name, userNamespaces]) => [name, userNamespaces]),
      [
        ['crun', true],
        ['runc', false],
        ['next', true],
        ['', false],
      ],
    );
  });

  for (const handler of ['crun', 'next'])
    test(`[F84] ${handler}: a volume with mapped ids`, async () => {
      // On the machine's disk: what else there is of this root's lies on an overlay, which has no id-mapped mounts.
      await checkVolume(node, handler, '/var/lib/containers/volume');
    });

  for (const handler of ['runc', 'crun', 'next'])
    test(`[a54] ${handler}: a pod has its user namespace, and runs where it should`, async () => {
      const config = userPod(node.machine, `newer-${handler}`);
      const ids = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT), handler);
      assert.match(await sh(node.client, ids.containerId, 'cat /proc/self/uid_map'), new RegExp(`^0 +${ROOT} +65536$`));
      const script = 'cat /proc/1/cgroup /proc/self/cgroup | grep -E ":(memory|pids|):" | grep -v "^0::/$"';
      const groups = (await sh(node.client, ids.containerId, script)).split('\n');
      const expected = `${config.linux?.cgroupParent ?? ''}/crio-${ids.containerId}`;
      for (const line of groups) assert.equal(line.split(':')[2], expected);
      await node.client.RemovePodSandbox({ podSandboxId: ids.podSandboxId });
    });

  test('[D90] runc 1.3: beside the host’s namespaces, with a pause process', async () => {
    const config = userPod(node.machine, 'beside', { network: NamespaceMode.NODE, pid: NamespaceMode.POD });
    const ids = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT), 'next');
    assert.match(await sh(node.client, ids.containerId, 'cat /proc/self/uid_map'), new RegExp(`^0 +${ROOT} `));
    await node.client.RemovePodSandbox({ podSandboxId: ids.podSandboxId });
  });
});

describe('where the storage root’s file system has no id-mapped mounts', () => {
  const node = new TestNode({ images: ['busybox'], config: '[crio]\nroot = "/run/plain/storage"\n' });
  before(async () => {
    await node.boot();
    await node.machine.exec(['sh', '-c', 'mkdir /run/plain && mount -t ramfs ramfs /run/plain']);
    await node.registry();
    await node.start();
    await node.client.PullImage({ image: { image: BUSYBOX } });
  });
  after(async () => await node.end());

  test('[p49 G96 J32] no user namespace is claimed, and a pod that wants one is told what is missing', async () => {
    const { claims } = await features(node);
    assert.deepEqual(
      claims.map(([, userNamespaces]) => userNamespaces),
      [false, false, false],
    );
    assert.ok(existsSync(node.path('/run/containers/storage/overlay/idmapped-lower-dir-false')));
    await refused(
      node.client.RunPodSandbox({ config: userPod(node.machine, 'refused') }),
      'FAILED_PRECONDITION',
      /layers below \/run\/plain\/storage\/overlay cannot be mounted with mapped ids \(.*Linux 5\.19.*hostUsers: true/,
    );
    const ids = await runPod(node.client, podConfig(node.machine, 'usual'), containerConfig('c', BUSYBOX, OBEDIENT));
    await node.client.RemovePodSandbox({ podSandboxId: ids.podSandboxId });
  });
});
