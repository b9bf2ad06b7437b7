import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BUSYBOX, REGISTRY, imageReference, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod } from '../harness/pods.ts';

const WEB = imageReference('web');
const node = useNode({
  images: ['busybox', 'web'],
  files: {
    '/etc/containers/registries.conf.d/mirror.conf': `[[registry]]\nlocation = "mirrored.invalid"\n[[registry.mirror]]\nlocation = "${REGISTRY}"\ninsecure = true\n`,
  },
});
const crio = async (...args: string[]) => (await node.crio(args)).stdout.toString('utf8');
const columns = (line = '') => line.split(/ {2,}/);

test('[p16, p20] crio pull names the mirror in use, and tells what was here already', async () => {
  const image = 'mirrored.invalid/web:latest';
  const { stdout, stderr } = await node.crio(['pull', image]);
  assert.match(stdout.toString('utf8'), /^mirrored\.invalid\/web@sha256:[0-9a-f]{64} {2}\(id /);
  assert.match(stderr, new RegExp(`^Pulling ${image}\nfrom ${REGISTRY}\n(layer [0-9a-f]{13} is here already\n){2}$`));
  await crio('image', 'rm', image);
});

test('crio image has the commands that other tools have below it', async () => {
  assert.equal(await crio('image', 'history', '-o', 'json', WEB), await crio('history', '-o', 'json', WEB));
  assert.equal(await crio('image', 'inspect', WEB), await crio('inspect', WEB));
  const { code, stderr } = await node.crio(['image', 'prune'], { mayFail: true });
  assert.deepEqual([code, stderr.split('\n')[0]], [2, 'crio image: image takes history, inspect, ls, pull, rm, not "prune"']);
});

test('crio images --filter lists what fits', async () => {
  assert.match(await crio('images', '--filter', 'reference=*/web:*'), /^IMAGE .*\n\S+\/web +latest [^\n]*\n$/);
  const busybox = await crio('images', '-q', '-f', `reference=${BUSYBOX}`);
  assert.match(busybox, /^[0-9a-f]{64}\n$/);
  assert.equal(await crio('images', '-q', '--filter', 'dangling=true'), '');
  const pinned = await crio('images', '--filter', 'pinned=true', '--filter', 'dangling=false');
  assert.ok(!pinned.includes('/web'));
  const { code, stderr } = await node.crio(['images', '--filter', 'size=1'], { mayFail: true });
  assert.equal(code, 2);
  assert.match(stderr, /--filter takes dangling=true/);
});

test('crio images --tree shows the layers that images share', async () => {
  const lines = (await crio('images', '--tree')).trimEnd().split('\n');
  assert.equal(lines.length, 2, lines.join('\n'));
  assert.match(lines[0] ?? '', new RegExp(`^[0-9a-f]{13} \\(1 layer\\)  \\S+/busybox:latest \\[[0-9.]+MB\\]`));
  assert.match(lines[1] ?? '', /^└─ [0-9a-f]{13} \(1 layer\) {2}\S+\/web:latest \[[0-9.]+MB\]$/);
  const { code, stderr } = await node.crio(['images', '--tree', '-q'], { mayFail: true });
  assert.equal(code, 2);
  assert.match(stderr, /--tree is a form of its own/);
});

test('crio history tells the steps of an image, the last first', async () => {
  const lines = (await crio('history', WEB)).trimEnd().split('\n');
  assert.match(lines[0] ?? '', /^CREATED +CREATED BY +LAYER +COMMENT$/);
  assert.deepEqual(
    lines.slice(1).map((line) => columns(line).slice(1, 3)),
    [
      ['layer 1', 'yes'],
      ['layer 0', 'yes'],
    ],
  );
  const steps = JSON.parse(await crio('history', '-o', 'json', WEB)) as { createdBy: string }[];
  assert.deepEqual(
    steps.map(({ createdBy }) => createdBy),
    ['layer 1', 'layer 0'],
  );
  const { code, stderr } = await node.crio(['history', 'x.io/nothing'], { mayFail: true });
  assert.equal(code, 1);
  assert.match(stderr, /no image is called "x\.io\/nothing"/);
});

test('[p23] crio df tells what takes up space, and what of it nobody needs', async () => {
  const { podSandboxId, containerId } = await runPod(node.client, podConfig(node.machine, 'df'), containerConfig('c', BUSYBOX, OBEDIENT));
  await node.client.ExecSync({ containerId, cmd: ['sh', '-c', 'head -c 3000000 /dev/urandom > /big'], timeout: 10n });
  const use = JSON.parse(await crio('df', '-o', 'json')) as {
    images: { id: string; names: string[]; size: number; shared: number; containers: number }[];
    imageBytes: number;
    unusedImageBytes: number;
    containers: { id: string; size: number; isMounted: boolean }[];
    orphans: unknown[];
    onDisk: Record<string, number>;
  };
  const image = (name: string) => use.images.find(({ names }) => names.includes(name)) ?? assert.fail(`${name} is not told of`);
  assert.equal(image(BUSYBOX).containers, 1);
  assert.equal(image(WEB).containers, 0);
  const { images } = await node.client.ListImages({});
  for (const { id, size } of images) assert.equal(use.images.find((other) => other.id === id)?.size, Number(size));
  // web, pause and busybox stand on one layer: it counts once.
  assert.ok(image(WEB).shared > 0 && image(WEB).shared < image(WEB).size);
  assert.ok(use.imageBytes < image(WEB).size + image(BUSYBOX).size);
  assert.ok(use.unusedImageBytes > 0 && use.unusedImageBytes < image(WEB).size);
  const own = use.containers.find(({ id }) => id === containerId);
  assert.ok(own !== undefined && own.isMounted && own.size >= 3_000_000 && own.size < 4_000_000, JSON.stringify(own));
  assert.deepEqual(use.orphans, []);
  const { images: layers = 0, containers = 0, unknown, unneeded } = use.onDisk;
  assert.ok(layers > 1_000_000 && containers >= 3_000_000, JSON.stringify(use.onDisk));
  assert.deepEqual([unknown, unneeded], [0, 0]);
  const du = (await node.exec(['du', '-xsB1', '/var/lib/containers/storage'])).stdout.toString('utf8').split('\t')[0];
  assert.equal(
    Object.values(use.onDisk).reduce((sum, bytes) => sum + bytes, 0),
    Number(du),
    'every byte',
  );
  const table = (await crio('df')).split('\n');
  assert.deepEqual(columns(table[0]), ['TYPE', 'TOTAL', 'ACTIVE', 'SIZE', 'RECLAIMABLE']);
  assert.deepEqual(columns(table[1]).slice(0, 2), ['Images', '3']);
  assert.match(table.at(-2) ?? '', /^Total +[0-9.]+MB$/);
  const { code, stderr } = await node.crio(['--root', '/mistyped', 'df'], { mayFail: true });
  assert.deepEqual([code, stderr.split('\n')[0]], [1, 'crio: there is no storage directory /mistyped']);
  assert.match(await crio('df', '-v'), new RegExp(`^${WEB} +[0-9a-f]{13} `, 'm'));
  await node.client.RemovePodSandbox({ podSandboxId });
});
