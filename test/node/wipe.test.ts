import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { BUSYBOX, TestNode, imageReference } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod } from '../harness/pods.ts';

const WEB = imageReference('web');
const GRAPH = '/var/lib/containers/storage';
const node = new TestNode({ images: ['busybox', 'web'], config: '[crio]\nversion_file_persist = "/var/lib/crio/version"\n' });
let podId: string;
let containerId: string;

before(async () => {
  await node.boot();
  await node.registry();
  await node.start();
  for (const image of [BUSYBOX, WEB]) await node.client.PullImage({ image: { image } });
  const pod = await runPod(node.client, podConfig(node.machine, 'wiped'), containerConfig('c', BUSYBOX, OBEDIENT));
  ({ podSandboxId: podId, containerId } = pod);
  await node.client.StopPodSandbox({ podSandboxId: podId });
  await node.stop();
});
after(async () => await node.end());

const wipe = async (...args: string[]) => {
  const { code, stderr } = await node.crio(
    [...args.filter((arg) => arg.startsWith('--internal')), 'wipe', ...args.filter((arg) => !arg.startsWith('--internal'))],
    {
      mayFail: true,
    },
  );
  assert.equal(code, 0, stderr);
  return stderr;
};
const records = (kind: string) => JSON.parse(node.read(`${GRAPH}/overlay-${kind}.json`)) as { id: string; names?: string[] }[];
const containers = () => records('containers/volatile-containers').map(({ id }) => id);
const VERSION = '/var/run/crio/version';

test('[A202, A203, J56] nothing is wiped where the daemon does it, or where there is no reason', async () => {
  assert.equal(await wipe(), '');
  assert.match(await wipe('--internal-wipe=false'), /Internal wipe not set, .*Version unchanged and node not rebooted; no wipe needed/s);
  await node.exec(['rm', '/var/lib/crio/version']);
  assert.match(
    await wipe('--internal-wipe=false'),
    /Legacy version-file path found, but new version-file-persist path not\. Skipping wipe/,
  );
  assert.deepEqual(new Set(containers()), new Set([podId, containerId]));
});

test('[A197, A199, A204, J57] after a reboot the containers of pods go, others and all images stay', async () => {
  node.write('/var/lib/crio/version', '"1.37.2"');
  await node.exec(['rm', VERSION]);
  // What podman made: no pod in its metadata.
  const file = `${GRAPH}/overlay-containers/containers.json`;
  const image = records('images/images').find(({ names }) => names?.includes(WEB))?.id ?? '';
  node.write(
    file,
    JSON.stringify([{ id: 'f'.repeat(64), image, layer: 'e'.repeat(64), metadata: '{"name":"podman"}', created: '2026-01-02T03:04:05Z' }]),
  );
  const told = await wipe('--internal-wipe=false');
  assert.match(told, /Wiping containers/);
  for (const id of [podId, containerId]) {
    assert.match(told, new RegExp(`Deleted container ${id}`));
    assert.ok(!existsSync(node.path(`${GRAPH}/overlay-containers/${id}`)));
  }
  assert.doesNotMatch(told, /Wiping images/);
  assert.deepEqual(containers(), []);
  assert.match(node.read(file), /"name\\":\\"podman/);
  node.write(file, '[]');
  assert.ok(records('images/images').some(({ names }) => names?.includes(BUSYBOX)));
});

test('[A198, A204] forced, images that pods used go too, and only they', async () => {
  await node.start();
  const { podSandboxId } = await node.client.RunPodSandbox({ config: podConfig(node.machine, 'again') });
  await node.client.StopPodSandbox({ podSandboxId });
  await node.stop();
  const told = await wipe('--force');
  assert.match(told, new RegExp(`Deleted container ${podSandboxId}`));
  assert.match(told, /Wiping images.*Deleted image [0-9a-f]{64}/s);
  const names = records('images/images').flatMap(({ names: own = [] }) => own);
  assert.ok(names.includes(BUSYBOX) && names.includes(WEB));
  assert.ok(!names.includes(imageReference('pause')));
  await node.start();
  const beside = await node.crio(['wipe', '--force'], { mayFail: true });
  assert.equal(beside.code, 1);
  assert.match(beside.stderr, /a daemon is running on \/var\/run\/crio\/crio\.sock: its storage is not wiped under it/);
});
