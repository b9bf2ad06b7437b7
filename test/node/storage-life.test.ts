import assert from 'node:assert/strict';
import { existsSync, linkSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { parseMountInfo } from '../../src/linux/index.ts';
import { ContainerState } from '../../src/wire/index.ts';
import { BUSYBOX, imageReference, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, stateOf } from '../harness/pods.ts';

const WEB = imageReference('web');
const G = '/var/lib/containers/storage';
const node = useNode({
  images: ['busybox', 'web'],
  files: {
    '/etc/containers/mounts.conf': '/etc/secrets:/run/secrets\n',
    '/etc/secrets/token': 'of the node',
    '/etc/containers/storage.conf': `[storage]\ndriver = "overlay2"\ngraphroot = "${G}"\n[storage.options.overlay]\nmountopt = "nodev"\n`,
  },
});
const rows = (file: string) => JSON.parse(node.read(`${G}/${file}`)) as { id: string; layer: string; parent?: string }[];
const failure = async (work: Promise<unknown>) =>
  await work.then(
    () => assert.fail('it did not fail'),
    (error: unknown) => String(error),
  );
const answer = async (containerId: string, ...cmd: string[]) => {
  const { stdout } = await node.client.ExecSync({ containerId, cmd, timeout: 10n });
  return Buffer.from(stdout).toString('utf8').trim();
};
const isMounted = async (layer: string) => {
  const text = (await node.exec(['cat', '/proc/self/mountinfo'])).stdout.toString('utf8');
  return parseMountInfo(text).some(({ mountPoint }) => mountPoint === `${G}/overlay/${layer}/merged`);
};

test('[J6] the inspect API tells the roots, driver and options that the store has in the end, storage.conf among them', async () => {
  const info = (await node.inspect('/info')) as { storage_driver: string; storage_root: string; storage_image: string };
  assert.deepEqual([info.storage_driver, info.storage_root, info.storage_image], ['overlay', G, '']);
  const { stdout } = await node.crio(['config']);
  assert.match(stdout.toString('utf8'), /storage_option = \[\s*"overlay\.mountopt=nodev"/);
});

test('[J19] a root that cannot be mounted is told with the names of container and pod, and nothing is left', async () => {
  const config = podConfig(node.machine, 'mounts');
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  // The layer that the images stand upon, and that is not theirs alone.
  const base = rows('overlay-layers/layers.json').find(({ parent }) => parent === undefined)?.id ?? '';
  const [place, aside] = [join(G, 'overlay', base), join(G, 'overlay', 'aside')].map((path) => node.path(path)) as [string, string];
  /** What fails while the layer is away, which comes back by itself [p28]. */
  const without = async (make: () => Promise<unknown>) => {
    renameSync(place, aside);
    const error = await failure(make());
    while (!existsSync(join(place, 'diff'))) await delay(20);
    rmSync(aside, { recursive: true });
    return error;
  };
  const create = () => node.client.CreateContainer({ podSandboxId, config: containerConfig('c', WEB, ['true']), sandboxConfig: config });
  const { uid = '' } = config.metadata ?? {};
  assert.match(
    await without(create),
    new RegExp(`failed to mount container k8s_c_mounts_default_${uid}_0\\([0-9a-f]{64}\\): .*does not exist`),
  );
  const other = podConfig(node.machine, 'unmountable');
  const name = `unmountable_default_${other.metadata?.uid}_0`;
  assert.match(
    await without(() => node.client.RunPodSandbox({ config: other })),
    new RegExp(`failed to mount container k8s_POD_${name} in pod sandbox k8s_${name}\\([0-9a-f]{64}\\): .*does not exist`),
  );
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[J61] images stay until somebody removes them: unused ones outlive a start, and their use is told', async () => {
  const before = await node.client.ListImages();
  await node.restart();
  assert.deepEqual(
    (await node.client.ListImages()).images.map(({ id }) => id),
    before.images.map(({ id }) => id),
  );
  const { imageFilesystems } = await node.client.ImageFsInfo();
  assert.equal(imageFilesystems[0]?.fsId?.mountpoint, `${G}/overlay-images`);
  assert.ok((imageFilesystems[0]?.usedBytes?.value ?? 0n) > 0n);
});

test('[J62] a stop with mounted layers is an orderly one', async () => {
  const { podSandboxId, containerId } = await runPod(
    node.client,
    podConfig(node.machine, 'stays'),
    containerConfig('c', BUSYBOX, OBEDIENT),
  );
  const layer = rows('overlay-containers/volatile-containers.json').find(({ id }) => id === containerId)?.layer ?? '';
  assert.equal(await node.stop(), 0);
  assert.ok(await isMounted(layer));
  assert.doesNotMatch(node.log(), /level=(error|fatal).*layer is in use/);
  await node.start();
  assert.equal(await answer(containerId, 'echo', 'still there'), 'still there');
  await node.client.RemovePodSandbox({ podSandboxId });
  assert.equal(await isMounted(layer), false);
});

test('[J63] state.json is replaced at each change of a container, never written in place, and read back at a start', async () => {
  const config = podConfig(node.machine, 'states');
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  const create = { podSandboxId, config: containerConfig('c', BUSYBOX, OBEDIENT), sandboxConfig: config };
  const { containerId } = await node.client.CreateContainer(create);
  const file = node.path(`${G}/overlay-containers/${containerId}/userdata/state.json`);
  const kept = `${file}.kept`;
  /** The state in the file, which is another than the one that was there before, and that one has not been touched. */
  const status = (before?: string) => {
    const text = readFileSync(file, 'utf8');
    const { ino, mode } = statSync(file);
    assert.equal((mode & 0o7777).toString(8), '644');
    if (before !== undefined) {
      assert.deepEqual(
        [statSync(kept).ino === ino, (JSON.parse(readFileSync(kept, 'utf8')) as { status: string }).status],
        [false, before],
      );
      rmSync(kept);
    }
    linkSync(file, kept);
    return (JSON.parse(text) as { status: string }).status;
  };
  assert.equal(status(), 'created');
  await node.client.StartContainer({ containerId });
  assert.equal(status('created'), 'running');
  await node.client.StopContainer({ containerId, timeout: 10n });
  assert.equal(status('running'), 'stopped');
  const before = await stateOf(node.client, containerId);
  await node.kill9();
  await node.start();
  assert.deepEqual(await stateOf(node.client, containerId), before);
  assert.equal(before.state, ContainerState.CONTAINER_EXITED);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[J64] what mounts.conf names is copied for each container and bound into it', async () => {
  const config = podConfig(node.machine, 'secrets');
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
  assert.equal(
    await answer(containerId, 'sh', '-c', 'cat /run/secrets/token; echo changed > /run/secrets/token; cat /run/secrets/token'),
    'of the nodechanged',
  );
  assert.equal(node.read('/etc/secrets/token'), 'of the node');
  await node.client.RemovePodSandbox({ podSandboxId });
});
