import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { after, before, test } from 'node:test';
import { archive, dir, file } from '../fixtures/tar-writer.ts';
import { TO_CHUNKED, manifestOf, noise } from '../harness/chunked.ts';
import { imageStorage } from '../harness/images.ts';
import { REGISTRY, TestNode } from '../harness/node.ts';
import { type RunningRegistry, startRegistry } from '../harness/registry.ts';
import { RegistryStorage } from '../harness/registry-storage.ts';

const CHUNKED = '127.0.0.1:5001';
const node = new TestNode({
  newerDebian: true,
  withoutNetwork: true,
  files: {
    '/etc/containers/registries.conf': [REGISTRY, CHUNKED].map((host) => `[[registry]]\nlocation = "${host}"\ninsecure = true\n`).join(''),
    '/etc/containers/storage.conf': `[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
[storage.options]
pull_options = {enable_partial_images = "true"}
`,
  },
});
const storage = new RegistryStorage(mkdtempSync(join(tmpdir(), 'crio-chunked-')));
let registry: RunningRegistry;

const podman = async (...args: string[]) => (await node.exec(['podman', '--cgroup-manager=cgroupfs', ...args])).stdout.toString().trim();
const pull = async (name: string) => (await node.client.PullImage({ image: { image: `${CHUNKED}/${name}:latest` } })).imageRef;

/** An image that runs: busybox with a bulk of data beside it, in one layer. */
async function put(name: string, seeds: readonly number[]): Promise<void> {
  const images = new RegistryStorage(await imageStorage(['busybox']));
  const [busybox] = manifestOf(images, 'busybox', 'latest').layers;
  assert.ok(busybox !== undefined);
  const data = seeds.map((seed) => file(`data/${seed}`, noise(seed, 100_000)));
  const tar = gunzipSync(readFileSync(images.blobFile(busybox.digest)));
  // Without its end marker the one goes on with the other. `podman system check` takes a directory without an entry for damaged.
  const end = tar.length - [...tar].toReversed().findIndex((byte) => byte !== 0);
  const layer = Buffer.concat([tar.subarray(0, Math.ceil(end / 512) * 512), archive(dir('data/'), ...data)]);
  storage.putImage(`${name}-gzip`, 'latest', { layers: [{ tar: layer }], config: { Cmd: ['/bin/busybox', 'ls', '/data'] } });
  const [from, to] = [`${name}-gzip`, name].map((each) => `docker://${CHUNKED}/${each}:latest`);
  await node.exec(['skopeo', ...TO_CHUNKED, from ?? '', to ?? '']);
}

before(async () => {
  await node.boot();
  registry = await startRegistry({
    storage: storage.dir,
    address: CHUNKED,
    spawn: (argv, stdio, env) => node.machine.spawn(argv, stdio, env),
  });
  await put('one', [1, 2, 3, 4, 5, 6, 7, 8]);
  await put('two', [1, 2, 3, 9, 5, 6, 7, 8]);
  await node.start();
});
after(async () => {
  await node.end();
  await registry.stop();
  rmSync(storage.dir, { recursive: true, force: true });
});

test('[J39, J40, J60, p24] podman checks, runs and copies an image that came in parts', async () => {
  await pull('one');
  const id = await pull('two');
  assert.match(node.log(), /Layer sha256:\w+: \d+ of \d+ bytes fetched, \d+ of \d+ files were in the store/);
  assert.equal(`sha256:${id}`, manifestOf(storage, 'two', 'latest').config.digest);
  const check = await node.exec(['podman', 'system', 'check'], { mayFail: true });
  assert.deepEqual([check.code, String(check.stdout)], [0, ''], check.stderr);
  const image = `${CHUNKED}/two:latest`;
  assert.equal(
    await podman('run', '--rm', '--network=none', '--cgroups=disabled', image),
    ['1', '2', '3', '5', '6', '7', '8', '9'].join('\n'),
  );
  // Reading the layer back rebuilds its archive, whose digest must be the config's.
  await node.exec(['skopeo', 'copy', `containers-storage:${image}`, 'dir:/tmp/copy']);
});

test('[J39, J60] layers that podman brought have files for us', async () => {
  await node.client.RemoveImage({ image: { image: `${CHUNKED}/one:latest` } });
  await node.client.RemoveImage({ image: { image: `${CHUNKED}/two:latest` } });
  await podman('pull', '--quiet', '--tls-verify=false', `${CHUNKED}/one-gzip:latest`);
  const before = node.log().length;
  await pull('two');
  assert.match(node.log().slice(before), /: \d+ of \d+ bytes fetched, \d+ of \d+ files were in the store/);
});
