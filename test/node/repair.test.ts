import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { containerConfig, podConfig } from '../harness/pods.ts';
import { BUSYBOX, TestNode, imageReference } from '../harness/node.ts';

const node = new TestNode({ images: ['busybox', 'web'] });
const GRAPH = '/var/lib/containers/storage';
const WEB = imageReference('web');

before(async () => {
  await node.boot();
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

const check = (...args: string[]) => node.crio(['check', ...args], { mayFail: true });

test('[A205, A208, J58] crio check says nothing of a sound store, beside the daemon', async () => {
  for (const args of [[], ['--quick'], ['--age', '0'], ['-a', ''], ['--age=-1h30m']]) {
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

test('[A212] a store whose records cannot be read is not opened, and nothing is done to it', async () => {
  const file = node.path(`${GRAPH}/overlay-layers/layers.json`);
  const whole = readFileSync(file);
  writeFileSync(file, whole.subarray(0, whole.length / 2));
  const { code, stderr } = await check('--repair', '--wipe', '--force');
  writeFileSync(file, whole);
  assert.equal(code, 1);
  assert.match(stderr, /unable to open storage: .*layers\.json cannot be read/);
  assert.equal((await check('--quick')).code, 0);
});

test('[J52, J53, O36, p28] after an end that was none, the start takes out what is damaged, keeps the rest, and pulls it again', async () => {
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
  await node.restart();
  assert.equal(
    node.log().split('because of unclean shutdown').length,
    log.split('because of unclean shutdown').length,
    'an orderly end needs no check',
  );
});
