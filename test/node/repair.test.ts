import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { OBEDIENT, containerConfig, podConfig, runPod } from '../harness/pods.ts';
import { BUSYBOX, TestNode, imageReference } from '../harness/node.ts';

const node = new TestNode({ images: ['busybox', 'web'] });
const GRAPH = '/var/lib/containers/storage';
const DISK = '/var/lib/containers/disk.img';
const WEB = imageReference('web');

before(async () => {
  await node.boot();
  // A disk of its own, that can be filled to the last byte.
  await node.exec(['sh', '-ec', `truncate -s 48M ${DISK}; mke2fs -q -t ext4 -m 0 ${DISK}; mkdir ${GRAPH}; mount -o loop ${DISK} ${GRAPH}`]);
  await node.registry();
  await node.start();
  for (const image of [BUSYBOX, WEB]) await node.client.PullImage({ image: { image } });
});
after(async () => await node.end());

interface Layers {
  readonly id: string;
  readonly parent?: string;
}

/** The directory of the layer that only the web image has. */
function webLayer(): string {
  const images = JSON.parse(node.read(`${GRAPH}/overlay-images/images.json`)) as { names?: string[]; layer: string }[];
  const top = images.find(({ names }) => names?.includes(WEB))?.layer ?? assert.fail('the web image is not there');
  const layers = JSON.parse(node.read(`${GRAPH}/overlay-layers/layers.json`)) as Layers[];
  assert.ok(layers.some(({ id, parent }) => id === top && parent !== undefined));
  return node.path(`${GRAPH}/overlay/${top}`);
}

/** Makes the web image one whose pull was given up a long time ago; answers the directory of the layer that it left. */
function giveUp(): string {
  const directory = webLayer();
  const [images, layers] = [`${GRAPH}/overlay-images/images.json`, `${GRAPH}/overlay-layers/layers.json`];
  const records = JSON.parse(node.read(images)) as { names?: string[] }[];
  node.write(images, JSON.stringify(records.filter(({ names }) => names?.includes(WEB) !== true)));
  const aged = (JSON.parse(node.read(layers)) as Layers[]).map((layer) => ({ ...layer, created: '2026-01-02T03:04:05Z' }));
  node.write(layers, JSON.stringify(aged));
  return directory;
}

const check = (...args: string[]) => node.crio(['check', ...args], { mayFail: true });

test('[A205, A208, J58] crio check says nothing of a sound store, beside the daemon', async () => {
  for (const args of [[], ['--quick', '-a', ''], ['--age=-1h30m']]) {
    const { code, stdout, stderr } = await check(...args);
    assert.equal(`${stdout.toString('utf8')}${code}`, '0', stderr);
    assert.match(stderr, /Checking storage directory \/var\/lib\/containers\/storage for errors/);
  }
});

test('[A206] an age that is none is refused', async () => {
  const { code, stderr } = await check('--age', 'soon');
  assert.equal(code, 1);
  assert.match(stderr, /unable to parse age duration: time: invalid duration/);
});

test('[A208, A209, J58, J59] damage is counted and named, and repaired when asked', async () => {
  const file = `${webLayer()}/diff/www/index.html`;
  writeFileSync(file, 'something else!');
  const told = await check();
  assert.equal(told.code, 1);
  assert.match(told.stderr, /1 layer errors, 0 read-only layer errors, 1 image errors, 0 read-only image errors, 0 container errors/);
  assert.match(told.stdout.toString('utf8'), /^layer [0-9a-f]{64}: layer content incorrect digest$/m);
  const quick = await check('--quick');
  assert.equal(quick.code, 1, 'a quick check computes digests too [A207]');
  const repaired = await check('--repair');
  assert.equal(repaired.code, 0, repaired.stderr);
  assert.match(repaired.stderr, /Attempting to repair storage directory/);
  const { images } = await node.client.ListImages({});
  assert.deepEqual(
    images.flatMap(({ repoTags }) => repoTags).filter((name) => name === WEB),
    [],
    'the daemon sees at once what the command did',
  );
  await node.client.PullImage({ image: { image: WEB } });
  assert.equal((await check()).code, 0);
});

test('[A207] what only the comparison of contents sees, --quick does not', async () => {
  const file = `${webLayer()}/diff/www/index.html`;
  chmodSync(file, 0o600);
  assert.equal((await check('--quick')).code, 0);
  const full = await check();
  assert.equal(full.code, 1);
  assert.match(full.stdout.toString('utf8'), /index\.html": its mode is 600, not 644/);
  chmodSync(file, 0o644);
});

test('[A209, A210, J59] damage under a container stays until it may go', async () => {
  const config = podConfig(node.machine, 'damaged');
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  const container = containerConfig('web', WEB, ['sleep', '1000']);
  const { containerId } = await node.client.CreateContainer({ podSandboxId, config: container, sandboxConfig: config });
  const file = `${webLayer()}/diff/www/index.html`;
  const whole = readFileSync(file);
  writeFileSync(file, 'x');
  const told = await check('--repair');
  assert.equal(told.code, 1);
  assert.match(told.stderr, /layer [0-9a-f]{64}: layer content modified/);
  assert.ok(existsSync(file), 'what a container needs was taken away');
  writeFileSync(file, whole);
  await node.client.RemoveContainer({ containerId });
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[p28] an image that turns out to be damaged when a container is to be made of it is pulled again by itself', async () => {
  const config = podConfig(node.machine, 'mended');
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  const create = () =>
    node.client.CreateContainer({ podSandboxId, config: containerConfig('web', WEB, ['sleep', '1000']), sandboxConfig: config });
  const layer = webLayer();
  renameSync(`${layer}/diff`, `${layer}/lost`);
  await assert.rejects(create(), /is damaged|does not exist/);
  while (!existsSync(`${layer}/diff/www/index.html`)) await delay(20);
  const { containerId } = await create();
  await node.client.RemoveContainer({ containerId });
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[A212] a store whose records cannot be read is not opened, and nothing is done to it', async () => {
  const file = node.path(`${GRAPH}/overlay-layers/layers.json`);
  const whole = readFileSync(file);
  writeFileSync(file, whole.subarray(0, whole.length / 2));
  const beside = await check('--repair', '--wipe', '--force');
  assert.match(beside.stderr, /a daemon is running .* its storage is not wiped under it/);
  const { code, stderr } = await check('--repair', '--force');
  writeFileSync(file, whole);
  assert.equal(code, 1);
  assert.match(stderr, /unable to open storage: .*layers\.json cannot be read/);
  assert.equal((await check('--quick', '--age', '0')).code, 0);
});

test('[J52, J53, O36, p23, p28] after an end that was none, the start takes out what is damaged, keeps the rest, and pulls it again', async () => {
  const config = podConfig(node.machine, 'survivor');
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  await node.kill9();
  const layer = webLayer();
  renameSync(`${layer}/diff`, `${layer}/lost`);
  await node.start();
  const log = node.log();
  assert.match(log, /Checking storage directory \/var\/lib\/containers\/storage for errors because of unclean shutdown/);
  assert.match(log, /Attempting to repair storage directory \/var\/lib\/containers\/storage because of unclean shutdown/);
  assert.match(log, /Damaged: layer [0-9a-f]{64}: layer is missing/);
  const { items } = await node.client.ListPodSandbox();
  assert.deepEqual(
    items.map(({ id }) => id),
    [podSandboxId],
  );
  while ((await node.client.ImageStatus({ image: { image: WEB } })).image === undefined) await delay(20);
  assert.equal((await check()).code, 0);
  await node.client.RemovePodSandbox({ podSandboxId });
  await node.stop();
  const orphan = giveUp();
  await node.start();
  assert.equal(
    node.log().split('because of unclean shutdown').length,
    log.split('because of unclean shutdown').length,
    'an orderly end needs no check',
  );
  // A start, and every hour of the daemon, takes away what pulls that were given up have left.
  while (!node.log().includes('Removed 1 image layers that nobody has needed for 24 hours')) await delay(20);
  assert.ok(!existsSync(orphan));
});

/** Takes every byte that is free; answers how many are. */
async function fill(): Promise<void> {
  const dd = (block: string) => `dd if=/dev/zero of=${GRAPH}/filler bs=${block} oflag=append conv=notrunc 2>&1 | grep -q 'No space'`;
  await node.exec(['sh', '-ec', `${dd('64k')}; ${dd('1k')}; sync`]);
  assert.equal(await free(), 0);
}

/** What the file system has given, but for what `crio df` tells of: its own. */
async function unaccounted(): Promise<bigint> {
  await node.exec(['sync']);
  const use = JSON.parse((await node.crio(['df', '-o', 'json'])).stdout.toString('utf8')) as { onDisk: Record<string, number> };
  assert.equal(use.onDisk['unknown'], 0);
  const stat = (await node.exec(['stat', '-f', '-c', '%b %f %S', GRAPH])).stdout.toString('utf8').split(' ').map(BigInt);
  const [blocks = 0n, unused = 0n, size = 0n] = stat;
  return (blocks - unused) * size - Object.values(use.onDisk).reduce((sum, bytes) => sum + BigInt(bytes), 0n);
}

async function free(): Promise<number> {
  const [blocks, size] = (await node.exec(['stat', '-f', '-c', '%a %S', GRAPH])).stdout.toString('utf8').split(' ').map(Number);
  return (blocks ?? 0) * (size ?? 0);
}

test('[p23] on a disk without a free byte whoever frees it can start and work: containers, pods and images are removed', async () => {
  const pods = [podConfig(node.machine, 'first'), podConfig(node.machine, 'second')];
  const [first, second] = [await runPod(node.client, pods[0] ?? assert.fail(), containerConfig('c', BUSYBOX, OBEDIENT)), pods[1]];
  const own = await unaccounted();
  await fill();
  await assert.rejects(node.client.RunPodSandbox({ config: second }), /ENOSPC: .*\(crio df tells what takes up the storage directory; /);
  for (const command of ['df', 'check']) assert.equal((await node.crio([command], { mayFail: true })).code, 0, command);
  // After a boot the kernel is asked again what it can do, for which directories are made.
  await node.stop();
  await node.exec(['sh', '-ec', 'rm -f /run/containers/storage/overlay/*-true']);
  await fill();
  await node.start();
  await fill();
  await node.client.StopContainer({ containerId: first.containerId, timeout: 5n });
  await node.client.RemoveContainer({ containerId: first.containerId });
  await fill();
  // Nor a byte below /run, where mounts are counted.
  await node.exec(['sh', '-c', 'mount -o remount,size=64M /run; dd if=/dev/zero of=/run/filler bs=4k'], { mayFail: true });
  await node.client.RemovePodSandbox({ podSandboxId: first.podSandboxId });
  await node.exec(['sh', '-ec', 'rm /run/filler; mount -o remount,size=50% /run']);
  await fill();
  for (const { id } of (await node.client.ListImages({})).images) await node.client.RemoveImage({ image: { image: id } });
  assert.ok((await free()) > 1_500_000, `${await free()} bytes are free`);
  await node.exec(['rm', `${GRAPH}/filler`]);
  // After a pull that was cut off every byte is accounted for, too.
  const pull = node.client.PullImage({ image: { image: WEB } }).catch(() => {});
  await delay(Math.random() * 100);
  await node.kill9();
  await pull;
  await node.start();
  // Nor need there be an inode.
  await node.client.PullImage({ image: { image: WEB } });
  await node.exec(['sh', '-c', `mkdir ${GRAPH}/inodes; cd ${GRAPH}/inodes; i=0; while true >$i; do i=$((i+1)); done`], { mayFail: true });
  await assert.rejects(node.client.PullImage({ image: { image: BUSYBOX } }), /ENOSPC/);
  for (const { id } of (await node.client.ListImages({})).images) await node.client.RemoveImage({ image: { image: id } });
  await node.exec(['rm', '-r', `${GRAPH}/inodes`]);
  const more = Number((await unaccounted()) - own);
  assert.ok(Math.abs(more) < 8192, `${more} bytes are on the disk that crio df does not tell of`);
});
