import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { BUSYBOX, type TestNode, imageReference, useNode } from '../harness/node.ts';
import { busyboxLayer, layerOf } from '../harness/images.ts';
import { containerConfig, podConfig, runPod, OBEDIENT } from '../harness/pods.ts';
import { RegistryStorage } from '../harness/registry-storage.ts';
import { type RegistryOptions, startRegistry } from '../harness/registry.ts';

const WEB = imageReference('web');
const PAUSE = imageReference('pause');
/** A registry that has images for another architecture, by their labels: what is in one is not. */
const OTHER = '127.0.0.1:5001';
async function startOther(booted: TestNode): Promise<void> {
  const storage = new RegistryStorage(booted.path('/var/tmp/other'));
  const more = { architecture: 's390x' };
  const elf = Buffer.from('7f454c46020201000000000000000000000200160000', 'hex');
  storage.putImage('foreign', 'latest', { layers: [{ tar: await layerOf({ 'bin/sh': elf, run: '#! /bin/sh -e\n' }) }], more });
  storage.putImage('mislabelled', 'latest', { layers: [{ tar: await busyboxLayer() }], more });
  const spawn: RegistryOptions['spawn'] = (argv, stdio, env) => booted.machine.spawn(argv, stdio, env);
  await startRegistry({ storage: '/var/tmp/other', address: OTHER, spawn });
}

const node = useNode(
  {
    images: ['busybox', 'web'],
    config: `[crio.image]\ninsecure_registries = ["x.io"]\npinned_images = ["*/web*"]\n`,
    files: {
      '/etc/crio/auth/in-use/team-of-a-pull-that-was-killed.json': '{}',
      '/etc/containers/registries.conf.d/20-other.conf': `[[registry]]\nlocation = "${OTHER}"\ninsecure = true\n`,
      '/etc/containers/registries.conf.d/10-mode.conf':
        'short-name-mode = "permissive"\nunqualified-search-registries = ["one.invalid", "two.invalid"]\n',
    },
  },
  startOther,
);
const list = async (image: string) => (await node.client.ListImages({ filter: { image: { image } } })).images;
const failure = async (work: Promise<unknown>) =>
  await work.then(
    () => assert.fail('it did not fail'),
    (error: unknown) => String(error),
  );

test('[I65] a filter of ListImages means one image, by name or id, and no part of a name', async () => {
  const [only, ...more] = await list(BUSYBOX);
  assert.deepEqual([only?.repoTags, more], [[BUSYBOX], []]);
  assert.deepEqual(
    (await list(only?.id.slice(0, 12) ?? '?')).map(({ id }) => id),
    [only?.id],
  );
  assert.deepEqual(await list(BUSYBOX.replace('busybox', 'busy')), []);
  assert.deepEqual(await list('127.0.0.1:5000/busybox:other'), []);
});

test('[I73] a verbose ImageStatus tells the config as the image brought it', async () => {
  const { info } = await node.client.ImageStatus({ image: { image: WEB }, verbose: true });
  assert.deepEqual([...info.keys()], ['info']);
  const { imageSpec, ...rest } = JSON.parse(info.get('info') ?? '') as {
    imageSpec: { config: { Cmd: string[] }; rootfs: { diff_ids: string[] } };
  };
  assert.deepEqual(rest, {}, 'labels are left out where there are none');
  assert.deepEqual(imageSpec.config.Cmd.slice(0, 2), ['httpd', '-f']);
  assert.equal(imageSpec.rootfs.diff_ids.length, 2);
  assert.equal((await node.client.ImageStatus({ image: { image: WEB } })).info.size, 0);
});

test('[I78] a pinned image and the pause image can be removed: the pin is a word to the kubelet', async () => {
  for (const image of [WEB, PAUSE]) {
    await node.client.PullImage({ image: { image } });
    assert.equal((await list(image))[0]?.pinned, true);
    await node.client.RemoveImage({ image: { image } });
    assert.deepEqual(await list(image), []);
    await node.client.PullImage({ image: { image } });
  }
});

test('[I12] the mode of registries.conf does not count: an ambiguous name is refused', async () => {
  assert.match(
    await failure(node.client.PullImage({ image: { image: 'ambiguous' } })),
    /short name mode is enforcing, but image name ambiguous returns ambiguous list/,
  );
});

test('[I87] insecure_registries changes nothing, and says so', () => {
  assert.match(
    node.log(),
    /Insecure registries option is deprecated and no longer effective\. Please use `insecure` in `registries\.conf` instead\./,
  );
});

test('[I26, a46] one-time credentials of a pull that was killed with its daemon are gone', () => {
  assert.ok(!existsSync(node.path('/etc/crio/auth/in-use/team-of-a-pull-that-was-killed.json')));
});

test('[I82] a pause image that is no reference stops the start', async () => {
  const { code, stderr } = await node.crio(['--pause-image', 'Not/A:Reference:', 'config'], { mayFail: true });
  assert.notEqual(code, 0);
  assert.match(stderr, /invalid pause image \\"Not\/A:Reference:\\": invalid reference format/);
});

test('[I86] a container of an image that is not there is refused in the words of the store', async () => {
  const config = podConfig(node.machine, 'unknown');
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  const create = (image: string) =>
    node.client.CreateContainer({ podSandboxId, config: containerConfig('c', image, ['true']), sandboxConfig: config });
  assert.match(
    await failure(create('x.io/nowhere:1')),
    /reference "\[overlay@\/var\/lib\/containers\/storage\+\/run\/containers\/storage[^\]]*\]x\.io\/nowhere:1" does not resolve to an image ID/,
  );
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[F90, I33, p25] an image volume is checked against the policy of the namespace, as the image of a container is', async () => {
  const docker = { [WEB]: [{ type: 'reject' }] };
  const policy = { default: [{ type: 'insecureAcceptAnything' }], transports: { docker } };
  node.write('/etc/crio/policies/guarded.json', JSON.stringify(policy));
  for (const namespace of ['guarded', 'open']) {
    const metadata = { name: 'guarded', namespace, uid: randomUUID(), attempt: 0 };
    const config = { ...podConfig(node.machine, 'guarded'), metadata };
    const { podSandboxId } = await node.client.RunPodSandbox({ config });
    const create = (image: string) => {
      const mounts = [{ containerPath: '/volume', image: { image, userSpecifiedImage: WEB } }];
      return node.client.CreateContainer({
        podSandboxId,
        config: containerConfig('c', BUSYBOX, ['true'], { mounts }),
        sandboxConfig: config,
      });
    };
    const id = (await list(WEB))[0]?.id ?? assert.fail();
    if (namespace === 'open') await create(id);
    else
      assert.match(
        await failure(create(id)),
        new RegExp(`ImageVolumeMountFailed: checking signature of "${WEB}": .*is rejected by policy`),
      );
    await node.client.RemovePodSandbox({ podSandboxId });
  }
});

test('[p53] an image for another architecture is pulled, and a container of it refused in a sentence, unless its label alone says so', async () => {
  const [image, other] = [`${OTHER}/foreign:latest`, `${OTHER}/mislabelled:latest`];
  const config = podConfig(node.machine, 'foreign');
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  const create = async (of: string, command: string[]) => {
    await node.client.PullImage({ image: { image: of } });
    return await node.client.CreateContainer({ podSandboxId, config: containerConfig('c', of, command), sandboxConfig: config });
  };
  const refused = `image "${image}" is made for linux/s390x, this node is linux/(amd64|arm64): exec format error \\(Use an image for linux/`;
  for (const command of ['/run', 'sh', '/bin/true']) assert.match(await failure(create(image, [command])), new RegExp(refused), command);
  const { containerId } = await create(other, ['true']);
  await node.client.StartContainer({ containerId });
  assert.match(node.log(), new RegExp(`Image ${other} says that it is made for linux/s390x, but its true is not`));
  await node.client.RemovePodSandbox({ podSandboxId });
  for (const name of [image, other]) await node.client.RemoveImage({ image: { image: name } });
});

test('[I62, I63, J15, a51] image volumes of many containers share one mount; a path in one never leads out of it; records say whose they are', async () => {
  const config = podConfig(node.machine, 'volumes');
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('main', BUSYBOX, OBEDIENT));
  const mounts = [
    { containerPath: '/whole', image: { image: WEB } },
    { containerPath: '/part', image: { image: WEB }, imageSubPath: 'www' },
  ];
  const create = (name: string, more: typeof mounts) =>
    node.client.CreateContainer({
      podSandboxId,
      config: containerConfig(name, BUSYBOX, ['true'], { mounts: more }),
      sandboxConfig: config,
    });
  await Promise.all(['a', 'b', 'c'].map((name) => create(name, mounts)));
  const counts = JSON.parse(node.read('/run/containers/storage/overlay-layers/mountpoints.json')) as { path: string; count: number }[];
  assert.equal(counts.filter(({ count }) => count === 6).length, 1, JSON.stringify(counts));
  assert.match(
    await failure(create('bad', [{ containerPath: '/bad', image: { image: WEB }, imageSubPath: 'nowhere' }])),
    /sub path "nowhere" does not exist in image volume/,
  );
  // What climbs ends at the image's own root.
  const climbing = [
    { containerPath: '/etc-of-image', image: { image: WEB }, imageSubPath: '../../../../etc' },
    { containerPath: '/proc-of-image', image: { image: WEB }, imageSubPath: '/etc/../../../../proc' },
  ];
  const { containerId: climber } = await node.client.CreateContainer({
    podSandboxId,
    config: containerConfig('climber', BUSYBOX, OBEDIENT, { mounts: climbing }),
    sandboxConfig: config,
  });
  await node.client.StartContainer({ containerId: climber });
  const { stdout } = await node.client.ExecSync({
    containerId: climber,
    cmd: ['sh', '-c', 'wc -l < /etc-of-image/passwd; ls /proc-of-image | wc -l'],
    timeout: 10n,
  });
  assert.equal(Buffer.from(stdout).toString('utf8'), '3\n0\n');
  const records = JSON.parse(node.read('/var/lib/containers/storage/overlay-containers/volatile-containers.json')) as {
    id: string;
    metadata: string;
  }[];
  const metadata = (id: string) => JSON.parse(records.find((record) => record.id === id)?.metadata ?? '{}') as Record<string, unknown>;
  const { 'created-at': created, 'image-id': imageId, ...rest } = metadata(containerId);
  assert.ok(Number.isSafeInteger(created) && /^[0-9a-f]{64}$/.test(String(imageId)));
  assert.deepEqual(rest, {
    'pod-name': metadata(podSandboxId)['pod-name'],
    'pod-id': podSandboxId,
    'image-name': BUSYBOX,
    name: `k8s_main_volumes_${config.metadata?.namespace}_${config.metadata?.uid}_0`,
    'metadata-name': 'main',
  });
  assert.equal(metadata(podSandboxId)['pod'], true);
  assert.equal(metadata(podSandboxId)['image-name'], PAUSE);
  await node.client.RemovePodSandbox({ podSandboxId });
});
