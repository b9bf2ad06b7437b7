import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { parseMountInfo } from '../../src/linux/index.ts';
import { NamespaceMode } from '../../src/wire/index.ts';
import { BUSYBOX, TestNode, imageReference } from '../harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, runPod } from '../harness/pods.ts';
import { treeLines } from '../harness/trees.ts';

const WEB = imageReference('web');
const G = '/var/lib/containers/storage';
/** What podman fills, and what shows it read-only. */
const EXTRA = '/var/lib/containers/extra';
const READ_ONLY = '/var/lib/containers/read-only';
/** The image store. */
const IMAGES = '/var/lib/containers/images';
const STORAGE_CONF = '/etc/containers/storage.conf';
const ROOTS = `[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = "${G}"\n`;

const node = new TestNode({ newerDebian: true, withoutNetwork: true, images: ['busybox', 'web'] });
const text = async (...argv: string[]) => (await node.exec(argv)).stdout.toString('utf8').trim();
const podman = async (...args: string[]) => await text('podman', '--cgroup-manager=cgroupfs', ...args);
const podmanRun = async (image: string, ...command: string[]) =>
  await podman('run', '--rm', '--network=none', '--cgroups=disabled', image, ...command);
const idOf = async (image: string) => (await node.client.ImageStatus({ image: { image } })).image?.id;
const remove = async (image: string) => await node.client.RemoveImage({ image: { image } });
const overlays = async () => parseMountInfo(await text('cat', '/proc/self/mountinfo')).filter((mount) => mount.type === 'overlay');
const tree = () => treeLines(node.path(EXTRA));
const own = async (kind: 'layers' | 'images', root = G) =>
  (JSON.parse((await text('sh', '-c', `cat ${root}/overlay-${kind}/${kind}.json || echo []`)) || '[]') as { id: string }[]).map(
    ({ id }) => id,
  );
const answer = async (containerId: string, ...cmd: string[]) => {
  const { stdout } = await node.client.ExecSync({ containerId, cmd, timeout: 10n });
  return Buffer.from(stdout).toString('utf8').trim();
};

function pod(name: string): PodInput {
  const namespaceOptions = { network: NamespaceMode.NODE, ipc: NamespaceMode.POD, pid: NamespaceMode.CONTAINER };
  return podConfig(node.machine, name, {
    linux: { cgroupParent: `${node.machine.cgroup}/${name}`, securityContext: { namespaceOptions } },
  });
}

let untouched: string[];
let busybox: string;

before(async () => {
  await node.boot();
  await node.registry();
  busybox = await podman('--root', EXTRA, '--runroot', '/run/extra', 'pull', '--quiet', '--tls-verify=false', BUSYBOX);
  await text('sh', '-ec', `mkdir ${READ_ONLY}; mount --bind ${EXTRA} ${READ_ONLY}; mount -o remount,bind,ro ${READ_ONLY}`);
  untouched = tree();
});
after(async () => await node.end());

test('[J37] an image that podman put into an additional store, mounted read-only, is listed, found, and pulled without a byte', async () => {
  node.write(STORAGE_CONF, `${ROOTS}[storage.options]\nadditionalimagestores = ["${READ_ONLY}"]\n`);
  await node.start();
  const { images } = await node.client.ListImages();
  assert.deepEqual(
    images.map(({ id, repoTags }) => [id, repoTags]),
    [[busybox, [BUSYBOX]]],
  );
  assert.deepEqual(await Promise.all([BUSYBOX, busybox, busybox.slice(0, 12)].map(idOf)), [busybox, busybox, busybox]);
  assert.equal((await node.client.PullImage({ image: { image: BUSYBOX } })).imageRef, busybox);
  assert.deepEqual([await own('layers'), await own('images')], [[], []]);
});

test('[J37, I79] a pod runs from it, an image volume too, and the file system that is reported is our own', async () => {
  const config = pod('theirs');
  const { imageFilesystems, containerFilesystems } = await node.client.ImageFsInfo();
  assert.deepEqual(
    [...imageFilesystems, ...containerFilesystems].map(({ fsId }) => fsId?.mountpoint),
    [`${G}/overlay-images`, `${G}/overlay-images`],
  );
  const container = containerConfig('c', BUSYBOX, OBEDIENT, { mounts: [{ containerPath: '/volume', image: { image: BUSYBOX } }] });
  const { podSandboxId, containerId } = await runPod(node.client, config, container);
  assert.equal(
    await answer(containerId, 'sh', '-c', 'echo written > /etc/passwd; cat /etc/passwd; grep -c root /volume/etc/passwd'),
    'written\n1',
  );
  assert.ok((await overlays()).some(({ superOptions }) => superOptions.includes(`lowerdir=${READ_ONLY}/overlay/l/`)));
  const volume = (await overlays()).filter(({ mountPoint }) => mountPoint.startsWith('/run/containers/storage/overlay/'));
  assert.deepEqual(
    volume.map(({ options }) => options.includes('ro')),
    [true],
  );
  // The pause image stands on the same layer: only what is above was fetched.
  const pause = await idOf(imageReference('pause'));
  assert.deepEqual([(await own('images')).length, (await own('layers')).length], [1, 1]);
  assert.equal((await own('images'))[0], pause);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[J37] to remove it is a success without effect, and the log says why', async () => {
  for (const image of [BUSYBOX, busybox, BUSYBOX]) await remove(image);
  assert.equal(await idOf(BUSYBOX), busybox);
  assert.match(node.log(), new RegExp(`Not removed: image \\\\?"${busybox}\\\\?" lies in an additional image store`));
});

test('[J37, J60] a pull fetches only the layers that are nowhere; podman runs what we pulled upon its store', async () => {
  const before = (await own('layers')).length;
  const web = (await node.client.PullImage({ image: { image: WEB } })).imageRef;
  assert.equal((await own('layers')).length, before + 1);
  const { podSandboxId, containerId } = await runPod(node.client, pod('web'), containerConfig('web', WEB, OBEDIENT));
  assert.equal(await answer(containerId, 'cat', '/www/index.html'), 'hello from web');
  assert.equal(await podmanRun(WEB, 'cat', '/www/index.html'), 'hello from web');
  assert.equal(await podmanRun(BUSYBOX, 'echo', 'beside'), 'beside');
  await assert.rejects(remove(web), /image is in use by a container/);
  await node.client.RemovePodSandbox({ podSandboxId });
  await remove(web);
  assert.equal((await own('layers')).length, before);
});

test('[J37, J58] df, check, repair, a start and a forced wipe leave it alone', async () => {
  const { podSandboxId } = await runPod(node.client, pod('kept'), containerConfig('c', BUSYBOX, OBEDIENT));
  await node.restart();
  const [usage] = JSON.parse(`[${(await node.crio(['df', '-o', 'json'])).stdout.toString('utf8')}]`) as { images: { id: string }[] }[];
  assert.deepEqual(
    usage?.images.map(({ id }) => id),
    [await idOf(imageReference('pause'))],
  );
  const check = await node.crio(['check', '--repair', '--age', '0s'], { mayFail: true });
  assert.deepEqual([check.code, String(check.stdout)], [0, ''], check.stderr);
  await node.client.RemovePodSandbox({ podSandboxId });
  const { podSandboxId: left } = await runPod(node.client, pod('wiped'), containerConfig('c', BUSYBOX, OBEDIENT));
  await node.client.StopPodSandbox({ podSandboxId: left });
  await node.stop();
  const wiped = await node.crio(['wipe', '--force']);
  assert.doesNotMatch(wiped.stderr, /Unable|error/);
  await node.start();
  assert.deepEqual(
    (await node.client.ListImages()).images.map(({ id }) => id),
    [busybox],
  );
  assert.deepEqual(await own('layers'), []);
  assert.deepEqual(tree(), untouched);
});

test('[J37] storage_option names a store as well; one that can be written is not written either, and podman may go on filling it', async () => {
  await node.stop();
  node.write(STORAGE_CONF, ROOTS);
  await node.start('--storage-opt', `overlay.imagestore=${EXTRA}`);
  const { podSandboxId, containerId } = await runPod(node.client, pod('writable'), containerConfig('c', BUSYBOX, OBEDIENT));
  assert.equal(await answer(containerId, 'echo', 'runs'), 'runs');
  await node.client.RemovePodSandbox({ podSandboxId });
  assert.deepEqual(tree(), untouched);
  const web = await podman('--root', EXTRA, '--runroot', '/run/extra', 'pull', '--quiet', '--tls-verify=false', WEB);
  assert.equal(await idOf(WEB), web, 'seen at once');
  await podman('--root', EXTRA, '--runroot', '/run/extra', 'rmi', WEB);
  assert.equal(await idOf(WEB), undefined);
});

test('[J28, J37] a store that is not there stops the start, with its name', async () => {
  await node.stop();
  const { code, stderr } = await node.startAndEnd('--storage-opt', 'overlay.imagestore=/nowhere');
  assert.notEqual(code, 0);
  assert.match(stderr, /overlay: can't stat imageStore dir \/nowhere: /);
  assert.match(stderr, /additionalimagestores/);
});

test('[B16, J7, I80] an image store apart from the graph root is shared with podman, and both file systems are reported', async () => {
  node.write(STORAGE_CONF, `${ROOTS}imagestore = "${IMAGES}"\n`);
  await node.start();
  // It stood upon the store that is not there any more.
  await node.client.PullImage({ image: { image: imageReference('pause') } });
  const web = (await node.client.PullImage({ image: { image: WEB } })).imageRef;
  const { imageFilesystems, containerFilesystems } = await node.client.ImageFsInfo();
  assert.equal(imageFilesystems[0]?.fsId?.mountpoint, `${IMAGES}/overlay-images`);
  assert.equal(containerFilesystems[0]?.fsId?.mountpoint, `${G}/overlay-containers`);
  assert.ok((imageFilesystems[0]?.usedBytes?.value ?? 0n) > 0n);
  const { podSandboxId, containerId } = await runPod(node.client, pod('split'), containerConfig('web', WEB, OBEDIENT));
  assert.equal(await answer(containerId, 'cat', '/www/index.html'), 'hello from web');
  assert.ok((await own('images', IMAGES)).includes(web));
  assert.ok(!(await own('images')).includes(web));

  const listed = await podman('images', '--no-trunc', '--format', '{{.ID}} {{.Repository}}:{{.Tag}}');
  assert.ok(listed.split('\n').includes(`sha256:${web} ${WEB}`), listed);
  assert.equal(await podmanRun(WEB, 'cat', '/www/index.html'), 'hello from web');
  await text('skopeo', 'copy', `containers-storage:${WEB}`, 'dir:/tmp/copy');
  const check = await node.exec(['podman', 'system', 'check'], { mayFail: true });
  assert.deepEqual([check.code, String(check.stdout)], [0, ''], check.stderr);
  const theirs = await podman('pull', '--quiet', '--tls-verify=false', BUSYBOX);
  assert.equal(await idOf(BUSYBOX), theirs);
  await remove(theirs);
  assert.doesNotMatch(await podman('images', '--no-trunc', '--quiet'), new RegExp(theirs));
  const ours = await node.crio(['check'], { mayFail: true });
  assert.deepEqual([ours.code, String(ours.stdout)], [0, ''], ours.stderr);
  await node.client.RemovePodSandbox({ podSandboxId });
  await podman('rmi', '--all');
  assert.deepEqual([(await node.client.ListImages()).images, await own('layers')], [[], []]);
});

test('[J7] an image store that is the graph root stops the start', async () => {
  await node.stop();
  const { code, stderr } = await node.startAndEnd('--imagestore', `${G}/`);
  assert.notEqual(code, 0);
  assert.match(stderr, new RegExp(`imagestore ${G}/ must either be not set or be a different than graphroot`));
});
