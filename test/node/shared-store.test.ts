import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseMountInfo } from '../../src/linux/index.ts';
import { ContainerState, NamespaceMode } from '../../src/wire/index.ts';
import { layerOf } from '../harness/images.ts';
import { BUSYBOX, REGISTRY, TestNode, imageReference } from '../harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, runPod, stateOf } from '../harness/pods.ts';
import { type RunningRegistry, startRegistry } from '../harness/registry.ts';
import { OCI, RegistryStorage, sha256 } from '../harness/registry-storage.ts';
import { treeLines } from '../harness/trees.ts';

const WEB = imageReference('web');
/** A second registry, of images that podman and we pull and remove all the time. */
const SMALL = '127.0.0.1:5001';
/** Longer where somebody looks for more: CRIO_TEST_SHARED_MS=180000. */
const LOOP_MS = Number(process.env['CRIO_TEST_SHARED_MS'] ?? 15_000);
const node = new TestNode({
  newerDebian: true,
  withoutNetwork: true,
  images: ['busybox', 'web'],
  files: {
    '/etc/containers/registries.conf': [REGISTRY, SMALL].map((host) => `[[registry]]\nlocation = "${host}"\ninsecure = true\n`).join(''),
  },
});
const storage = new RegistryStorage(mkdtempSync(join(tmpdir(), 'crio-small-')));
let small: RunningRegistry;
let ours: { podSandboxId: string; containerId: string };
let pod: PodInput;

const podman = async (...args: string[]) => await textOf('podman', '--cgroup-manager=cgroupfs', ...args);
const podmanRun = async (image: string, ...command: string[]) =>
  await podman('run', '--rm', '--network=none', '--cgroups=disabled', image, ...command);
/**
 * podman holds no lock between finding a layer that it can reuse and building on it: whoever removes that layer's last
 * image in between, another podman too, makes its pull fail with `layer not known`. Only that, and only it, is tried again.
 */
const podmanPull = async (image: string, tries = 5): Promise<string> => {
  try {
    return await podman('pull', '--quiet', '--tls-verify=false', image);
  } catch (error) {
    if (tries <= 1 || !String(error).includes('layer not known')) throw error;
    return await podmanPull(image, tries - 1);
  }
};
const pull = async (image: string) => (await node.client.PullImage({ image: { image } })).imageRef;
const remove = async (image: string) => await node.client.RemoveImage({ image: { image } });
const answerOf = async (...cmd: string[]) => {
  const { stdout } = await node.client.ExecSync({ containerId: ours.containerId, cmd, timeout: 10n });
  return Buffer.from(stdout).toString('utf8').trim();
};
const textOf = async (...argv: string[]) => (await node.exec(argv)).stdout.toString('utf8').trim();
const mountPoints = async () => parseMountInfo(await textOf('cat', '/proc/self/mountinfo')).map((mount) => mount.mountPoint);

async function create(image: string, command: string): Promise<string> {
  const { podSandboxId } = ours;
  const config = containerConfig('beside', image, [command]);
  return (await node.client.CreateContainer({ podSandboxId, config, sandboxConfig: pod })).containerId;
}

/** Image ids with their names, as CRI and as podman tell them. */
async function ourImages(): Promise<string[]> {
  const { images } = await node.client.ListImages();
  return images.flatMap(({ id, repoTags }) => repoTags.map((name) => `${id} ${name}`)).toSorted();
}
async function podmansImages(): Promise<string[]> {
  const images = await podman('images', '--no-trunc', '--format', '{{.ID}} {{.Repository}}:{{.Tag}}');
  return images
    .replaceAll(/^sha256:/gm, '')
    .split('\n')
    .toSorted();
}

/** Nothing is damaged, nothing is left over, and both see the same. */
async function assertAgreement(): Promise<void> {
  const check = await node.exec(['podman', 'system', 'check'], { mayFail: true });
  assert.deepEqual([check.code, String(check.stdout)], [0, ''], check.stderr);
  assert.deepEqual(await ourImages(), await podmansImages());
}

/** Our container runs, answers, and stands on its mount. */
async function assertRunning(): Promise<void> {
  assert.equal((await stateOf(node.client, ours.containerId)).state, ContainerState.CONTAINER_RUNNING);
  assert.equal(await answerOf('cat', '/mark'), 'marked');
  const external = await podman('ps', '--all', '--external', '--no-trunc', '--format', '{{.ID}} {{.Image}}');
  assert.ok(external.split('\n').includes(`${ours.containerId} ${WEB}`), external);
  assert.ok((await mountPoints()).includes(mergedOf(ours.containerId)));
}

/** Where a container's root is mounted, as containers/storage records it. */
function mergedOf(containerId: string): string {
  const text = node.read('/var/lib/containers/storage/overlay-containers/volatile-containers.json');
  const records = JSON.parse(text) as { id: string; layer: string }[];
  const layer = records.find(({ id }) => id === containerId)?.layer ?? '';
  return `/var/lib/containers/storage/overlay/${layer}/merged`;
}

before(async () => {
  await node.boot();
  await node.registry();
  await node.start();
  await putImages();
  small = await startRegistry({
    storage: storage.dir,
    address: SMALL,
    spawn: (argv, stdio, env) => node.machine.spawn(argv, stdio, env),
  });
});
after(async () => {
  await node.end();
  await small.stop();
  rmSync(storage.dir, { recursive: true, force: true });
});

/** `ours`, `theirs` and `both` share their lower layers. */
async function putImages(): Promise<void> {
  const shared = await Promise.all(['one', 'two'].map(async (name) => ({ tar: await layerOf({ [`${name}/file`]: name }) })));
  for (const name of ['ours', 'theirs', 'both'])
    storage.putImage(name, 'latest', { layers: [...shared, { tar: await layerOf({ name: name }) }] });
}

test('[J60, p30] what we pull podman lists, runs and skopeo copies', async () => {
  const id = await pull(BUSYBOX);
  const { image } = await node.client.ImageStatus({ image: { image: BUSYBOX } });
  const listed = await podman('images', '--no-trunc', '--format', '{{.ID}} {{.Repository}}@{{.Digest}} {{.Repository}}:{{.Tag}}');
  assert.equal(listed, `sha256:${id} ${image?.repoDigests[0]} ${BUSYBOX}`);
  assert.equal(await podmanRun(BUSYBOX, 'echo', 'it runs'), 'it runs');
  await node.exec(['skopeo', 'copy', `containers-storage:${BUSYBOX}`, 'dir:/tmp/copy']);
  assert.equal(await textOf('cat', '/tmp/copy/version'), 'Directory Transport Version: 1.1');
});

test('[J60] what podman pulls we list at once and run', async () => {
  const id = await podman('pull', '--quiet', '--tls-verify=false', WEB);
  assert.ok((await ourImages()).includes(`${id} ${WEB}`));
  assert.equal((await node.client.ImageStatus({ image: { image: WEB } })).image?.id, id);
  const namespaceOptions = { network: NamespaceMode.NODE, ipc: NamespaceMode.POD, pid: NamespaceMode.CONTAINER };
  pod = podConfig(node.machine, 'shared', {
    linux: { cgroupParent: `${node.machine.cgroup}/shared`, securityContext: { namespaceOptions } },
  });
  ours = await runPod(node.client, pod, containerConfig('web', WEB, OBEDIENT));
  assert.equal(await answerOf('cat', '/www/index.html'), 'hello from web');
  await answerOf('sh', '-c', 'echo marked > /mark');
  await assertRunning();
  await assertAgreement();
});

test('[J60, p30, I75] neither removes an image that the other uses, and a prune leaves it', async () => {
  await assert.rejects(podman('rmi', WEB), /in use/);
  await podman('image', 'prune', '--all', '--force');
  await assertRunning();
  const id = await pull(BUSYBOX);
  const theirs = await podman('create', '--network=none', '--cgroups=disabled', BUSYBOX, 'true');
  const reason = `image used by ${theirs}: image is in use by a container`;
  await assert.rejects(remove(id), (error: Error) => error.message.includes(`delete image: ${reason}`));
  await assert.rejects(remove(BUSYBOX), (error: Error) => error.message.includes(reason));
  const { containers } = await node.client.ListContainers();
  assert.ok(!containers.some((container) => container.id === theirs));
  await podman('rm', theirs);
});

test('[I43, J60] layers that bzip2 and xz compressed, whatever their media types say, are stored as podman stores them', async () => {
  const layers = await Promise.all(
    ['bzip2', 'xz'].map(async (program) => {
      const tar = await layerOf({ [`etc/${program}`]: Buffer.alloc(3_000_000, program), [`${program}/`]: '' });
      return { tar, blob: execFileSync(program, ['-c'], { input: tar }) };
    }),
  );
  const document = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: layers.map(({ tar }) => sha256(tar)) } };
  storage.putManifest(
    'compressed',
    OCI.manifest,
    {
      schemaVersion: 2,
      mediaType: OCI.manifest,
      config: storage.putBlob('compressed', OCI.config, Buffer.from(JSON.stringify(document))),
      layers: layers.map(({ blob }) => storage.putBlob('compressed', `${OCI.layer}${OCI.suffix.gzip}`, blob)),
    },
    'latest',
  );
  const image = `${SMALL}/compressed:latest`;
  const stored = (root: string) => {
    const records = JSON.parse(node.read(`${root}/overlay-layers/layers.json`)) as Record<string, unknown>[];
    return layers.map(({ tar }) => {
      const record = records.find((layer) => layer['diff-digest'] === sha256(tar)) ?? {};
      const { created: _, ...fields } = record;
      return { fields, tree: treeLines(node.path(`${root}/overlay/${String(record['id'])}/diff`)) };
    });
  };
  await pull(image);
  const ours = stored('/var/lib/containers/storage');
  await remove(image);
  const apart = ['--root', '/var/lib/containers/theirs', '--runroot', '/run/theirs'];
  await podman(...apart, 'pull', '--quiet', '--tls-verify=false', image);
  assert.deepEqual(ours, stored('/var/lib/containers/theirs'));
  assert.deepEqual(
    ours.map(({ fields }) => fields['compression']),
    [1, 3],
  );
});

test('[J17, J60] a name that podman took first is refused, and can be had when it is free again', async () => {
  const config = { ...pod, metadata: { name: 'taken', namespace: 'default', uid: 'u', attempt: 0 } };
  const theirs = await podman('create', '--name=k8s_taken_default_u_0', '--network=none', '--cgroups=disabled', BUSYBOX, 'true');
  await assert.rejects(node.client.RunPodSandbox({ config }), /pod sandbox with name "k8s_taken_default_u_0" already exists/);
  await podman('rm', theirs);
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[J60, p30] podman and we pull, run and remove side by side', { timeout: LOOP_MS + 45_000 }, async (t) => {
  const until = Date.now() + LOOP_MS;
  const [mine, theirs, both] = ['ours', 'theirs', 'both'].map((name) => `${SMALL}/${name}:latest`) as [string, string, string];
  const rounds = { ours: 0, theirs: 0 };
  const weWork = async () => {
    for (; Date.now() < until; rounds.ours++) {
      await Promise.all([pull(mine), pull(both)]);
      await assert.rejects(create(mine, '/missing'), /no such file/); // Leaves nothing that would keep the image.
      const containerId = await create(BUSYBOX, 'true');
      await node.client.RemoveContainer({ containerId });
      await remove(mine);
      if (rounds.ours % 4 === 0) await remove(both);
    }
  };
  const theyWork = async () => {
    for (; Date.now() < until; rounds.theirs++) {
      await podmanPull(theirs);
      if (rounds.theirs % 2 === 0) await podmanPull(both);
      assert.equal(await podmanRun(BUSYBOX, 'echo', 'beside'), 'beside');
      await podman('rmi', theirs);
    }
  };
  await Promise.all([weWork(), theyWork()]);
  assert.ok(rounds.ours > 3 && rounds.theirs > 3, JSON.stringify(rounds));
  t.diagnostic(`rounds: ${rounds.ours} of ours, ${rounds.theirs} of podman's`);
  await assertAgreement();
  await assertRunning();
  await remove(both);
});

test('[J60] podman goes on when our daemon was killed, and the next daemon has everything', async () => {
  const images = await ourImages();
  await node.kill9();
  assert.equal(await podmanRun(BUSYBOX, 'echo', 'alone'), 'alone');
  await podman('tag', BUSYBOX, 'localhost/meanwhile:1');
  await node.start();
  const busybox = images.find((line) => line.endsWith(BUSYBOX))?.split(' ')[0];
  assert.deepEqual(await ourImages(), [...images, `${busybox} localhost/meanwhile:1`].toSorted());
  await assertRunning();
  await assertAgreement();
});

test('[J60] in the end both have nothing left', async () => {
  await node.client.RemovePodSandbox({ podSandboxId: ours.podSandboxId });
  await podman('rmi', '--all');
  assert.deepEqual(await ourImages(), []);
  assert.equal(await podman('ps', '--all', '--external', '--quiet'), '');
  assert.deepEqual(
    (await mountPoints()).filter((path) => path.includes('/merged')),
    [],
  );
});
