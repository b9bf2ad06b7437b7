import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { BUSYBOX, REGISTRY, TestNode } from '../harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, runPod } from '../harness/pods.ts';
import { type RunningRegistry, startRegistry } from '../harness/registry.ts';
import { OCI, RegistryStorage } from '../harness/registry-storage.ts';

const SMALL = '127.0.0.1:5001';
const MODEL = `${SMALL}/models/tiny:v1`;
const ARTIFACTS = '/var/lib/containers/storage/artifacts';
const ELSEWHERE = '/var/lib/containers/elsewhere';
const node = new TestNode({
  newerDebian: true,
  withoutNetwork: true,
  images: ['busybox'],
  config: `[crio.runtime]\nadditional_artifact_stores = ["${ELSEWHERE}", "/var/lib/containers/missing"]\n`,
  files: {
    '/etc/containers/registries.conf': [REGISTRY, SMALL].map((host) => `[[registry]]\nlocation = "${host}"\ninsecure = true\n`).join(''),
  },
});
const storage = new RegistryStorage(mkdtempSync(join(tmpdir(), 'crio-small-')));
let small: RunningRegistry;
let pod: PodInput;

/** Stores an artifact of these files; a name that is undefined makes a layer without one. Answers the digest. */
function put(name: string, files: readonly (readonly [name: string | undefined, contents: string])[], more: object = {}): string {
  const [repository = '', tag] = name.split(':');
  const config = storage.putBlob(repository, 'application/vnd.example.model.config.v1+json', Buffer.from('{}'));
  const layers = files.map(([title, contents]) => ({
    ...storage.putBlob(repository, 'application/octet-stream', Buffer.from(contents)),
    ...(title === undefined ? {} : { annotations: { 'org.opencontainers.image.title': title } }),
  }));
  const document = { schemaVersion: 2, mediaType: OCI.manifest, config, layers, annotations: { kind: 'model' }, ...more };
  return storage.putManifest(repository, OCI.manifest, document, tag).digest;
}

before(async () => {
  await node.boot();
  await node.registry();
  small = await startRegistry({ storage: storage.dir, address: SMALL, spawn: (argv, stdio, env) => node.machine.spawn(argv, stdio, env) });
  await node.start();
  await node.client.PullImage({ image: { image: BUSYBOX } });
  pod = podConfig(node.machine, 'models');
});
after(async () => {
  await node.end();
  await small.stop();
  rmSync(storage.dir, { recursive: true });
});

const pull = async (image: string) => (await node.client.PullImage({ image: { image } })).imageRef;
const list = async () => (await node.client.ListImages({})).images;
const artifactsListed = async () => (await list()).filter(({ repoTags }) => repoTags.some((tag) => tag.startsWith(SMALL)));
const blobs = () => readdirSync(node.path(`${ARTIFACTS}/blobs/sha256`)).sort();
const podman = async (...args: string[]) => (await node.exec(['podman', 'artifact', ...args])).stdout.toString('utf8');

test('[I1, I51, I53, I54, I56, I64] an artifact is pulled into a layout beside the images, and listed after them', async () => {
  const digest = put('models/tiny:v1', [
    ['weights.bin', 'w'.repeat(5000)],
    ['docs/README.md', 'read me'],
    [undefined, 'nameless'],
  ]);
  assert.equal(await pull(MODEL), digest.slice(7));
  assert.match(
    node.log(),
    /Falling back to pull 127\.0\.0\.1:5001\/models\/tiny:v1 as an OCI artifact: unsupported image-specific operation on artifact/,
  );
  const listed = (await list()).at(-1);
  assert.deepEqual([listed?.id, listed?.repoTags, listed?.repoDigests], [digest.slice(7), [MODEL], [`${SMALL}/models/tiny@${digest}`]]);
  assert.equal(listed?.size, 5015n);
  assert.equal(listed?.pinned, false);
  assert.equal(statSync(node.path(ARTIFACTS)).mode & 0o777, 0o755 & 0o700);
  const index = JSON.parse(node.read(`${ARTIFACTS}/index.json`)) as { manifests: { digest: string; annotations: object }[] };
  assert.deepEqual(
    index.manifests.map((entry) => [entry.digest, entry.annotations]),
    [[digest, { 'org.opencontainers.image.ref.name': MODEL }]],
  );
  assert.equal(blobs().length, 5);
  for (const name of blobs())
    assert.equal(
      createHash('sha256')
        .update(readFileSync(node.path(`${ARTIFACTS}/blobs/sha256/${name}`)))
        .digest('hex'),
      name,
    );
});

test('[I57, I58, I70] it is found by name, digest and beginning of a digest, and has no settings to show', async () => {
  const id = (await artifactsListed())[0]?.id ?? '';
  for (const text of [MODEL, `${SMALL}/models/tiny@sha256:${id}`, id, id.slice(0, 12)]) {
    const { image, info } = await node.client.ImageStatus({ image: { image: text }, verbose: true });
    assert.equal(image?.id, id, text);
    assert.equal(info.size, 0);
    assert.deepEqual([...(image?.spec?.annotations ?? [])], [['kind', 'model']]);
  }
  assert.equal((await node.client.ImageStatus({ image: { image: `${SMALL}/models/tiny:v2` } })).image, undefined);
  const listed = await node.client.ListImages({ filter: { image: { image: MODEL } } });
  assert.deepEqual(
    listed.images.map((image) => image.id),
    [id],
  );
});

test('[F89, F94, F95, I59, I60, I61, p26] a container has its files read-only, those below a path where one is asked for', async () => {
  const mounts = [
    { containerPath: '/model', image: { image: MODEL } },
    { containerPath: '/docs/', image: { image: MODEL }, imageSubPath: 'docs' },
    { containerPath: '/image', image: { image: BUSYBOX } },
  ];
  const { podSandboxId, containerId } = await runPod(node.client, pod, containerConfig('c', BUSYBOX, OBEDIENT, { mounts }));
  const sh = async (script: string) => {
    const { stdout, stderr } = await node.client.ExecSync({ containerId, cmd: ['sh', '-c', script], timeout: 10n });
    return Buffer.concat([stdout, stderr]).toString('utf8').trim();
  };
  assert.equal(
    await sh('find /model /docs -type f | sort | xargs wc -c | sed "s/^ *//"'),
    '7 /docs/README.md\n7 /model/docs/README.md\n5000 /model/weights.bin\n5014 total',
  );
  assert.equal(await sh('cat /docs/README.md'), 'read me');
  assert.match(await sh('echo x > /model/weights.bin'), /Read-only file system/);
  assert.equal(await sh('ls /image/bin/busybox'), '/image/bin/busybox');
  assert.match(node.log(), /Unable to find name for artifact layer which makes it not mountable/);
  const refused = await node.client.RemoveImage({ image: { image: MODEL } }).then(
    () => '',
    (error: unknown) => String(error),
  );
  assert.match(refused, new RegExp(`the image is in use by ${containerId}`));
  const missing = containerConfig('missing', BUSYBOX, ['true'], {
    mounts: [{ containerPath: '/m', image: { image: MODEL }, imageSubPath: 'nowhere' }],
  });
  await assert.rejects(
    node.client.CreateContainer({ podSandboxId, config: missing, sandboxConfig: pod }),
    /ImageVolumeMountFailed: sub path "nowhere" does not exist in OCI artifact volume "127\.0\.0\.1:5001\/models\/tiny:v1"/,
  );
  await node.client.StopPodSandbox({ podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[a37] names that would leave the place of the mount are left out', async () => {
  put('models/evil:v1', [
    ['../../etc/shadow', 'x'],
    ['/etc/passwd', 'y'],
    ['a/../../b', 'z'],
    ['fine', 'f'],
  ]);
  const evil = `${SMALL}/models/evil:v1`;
  await pull(evil);
  const config = containerConfig('e', BUSYBOX, OBEDIENT, { mounts: [{ containerPath: '/e', image: { image: evil } }] });
  const { podSandboxId, containerId } = await runPod(
    node.client,
    { ...pod, metadata: { ...pod.metadata, name: 'evil', uid: 'evil' } },
    config,
  );
  const { stdout } = await node.client.ExecSync({
    containerId,
    cmd: ['sh', '-c', 'grep " /e/" /proc/mounts | cut -d" " -f2; cat /etc/passwd | head -1'],
    timeout: 10n,
  });
  assert.equal(Buffer.from(stdout).toString('utf8'), '/e/fine\nroot:x:0:0:root:/root:/bin/sh\n');
  await node.client.RemovePodSandbox({ podSandboxId });
  await node.client.RemoveImage({ image: { image: evil } });
});

test('[I54, J60] podman shows it, reads it, and removes it; we show and mount what podman pulled', async () => {
  assert.match(await podman('ls', '--no-trunc'), /127\.0\.0\.1:5001\/models\/tiny\s+v1/);
  put('models/theirs:v1', [['t', 'theirs']]);
  await podman('pull', '--quiet', '--tls-verify=false', `${SMALL}/models/theirs:v1`);
  assert.deepEqual(new Set((await artifactsListed()).map(({ repoTags }) => repoTags[0])), new Set([`${SMALL}/models/theirs:v1`, MODEL]));
  await podman('rm', MODEL);
  assert.deepEqual(
    (await artifactsListed()).map(({ repoTags }) => repoTags[0]),
    [`${SMALL}/models/theirs:v1`],
  );
  await node.client.RemoveImage({ image: { image: `${SMALL}/models/theirs:v1` } });
  assert.doesNotMatch(await podman('ls'), /theirs/);
});

test('[I77] a removal takes the blobs that nobody else needs, by name or by id', async () => {
  const shared: [string, string] = ['shared', 'both have it'];
  put('models/a:v1', [shared, ['a', 'only a']]);
  put('models/b:v1', [shared, ['b', 'only b']]);
  const id = await pull(`${SMALL}/models/a:v1`);
  await pull(`${SMALL}/models/b:v1`);
  await node.client.RemoveImage({ image: { image: id } });
  const left = blobs().map((name) => readFileSync(node.path(`${ARTIFACTS}/blobs/sha256/${name}`), 'utf8'));
  assert.ok(left.includes('both have it') && left.includes('only b') && !left.includes('only a'));
  await node.client.RemoveImage({ image: { image: `${SMALL}/models/b:v1` } });
  assert.deepEqual(blobs(), []);
  await node.client.RemoveImage({ image: { image: `${SMALL}/models/b:v1` } });
});

test('[I49, I51] a tag moves, and what fails leaves nothing', async () => {
  put('models/moving:v1', [['m', 'old']]);
  await pull(`${SMALL}/models/moving:v1`);
  const digest = put('models/moving:v1', [['m', 'new']]);
  assert.equal(await pull(`${SMALL}/models/moving:v1`), digest.slice(7));
  assert.equal((await artifactsListed()).length, 1);
  assert.equal(blobs().length, 3);
  await node.client.RemoveImage({ image: { image: digest.slice(7) } });
  put('models/broken:v1', [['x', 'what its digest says']]);
  const blob = `sha256:${createHash('sha256').update('what its digest says').digest('hex')}`;
  writeFileSync(storage.blobFile(blob), 'what its digest SAYS');
  await assert.rejects(pull(`${SMALL}/models/broken:v1`), /unable to pull image or OCI artifact: .*artifact err: .*blob digest mismatch/);
  assert.deepEqual(await artifactsListed(), []);
  assert.deepEqual(
    readdirSync(node.path(ARTIFACTS)).filter((name) => name.startsWith('oci-put-blob')),
    [],
  );
  assert.deepEqual(blobs(), [], 'its config had come, and nobody needs it');
});

test('[I55, B59] additional stores come first, are pinned, spare the pull, and stay as they are', async () => {
  assert.match(node.log(), /Skipping additional artifact store \\"\/var\/lib\/containers\/missing\\": /);
  const digest = put('models/given:v1', [['g', 'given']]);
  const given = `${SMALL}/models/given:v1`;
  await pull(given);
  await node.exec(['sh', '-c', `mkdir -p ${ELSEWHERE} && cp -a ${ARTIFACTS} ${ELSEWHERE}/`]);
  await node.client.RemoveImage({ image: { image: given } });
  assert.ok(!existsSync(node.path(`${ARTIFACTS}/blobs/sha256/${digest.slice(7)}`)));
  const asked = small.log().split('/models/given/').length;
  assert.equal(await pull(given), digest.slice(7));
  assert.equal(small.log().split('/models/given/').length, asked, 'the registry was asked');
  const [listed] = await artifactsListed();
  assert.deepEqual([listed?.repoTags, listed?.pinned], [[given], true]);
  await node.client.RemoveImage({ image: { image: given } });
  assert.equal((await artifactsListed()).length, 1);
});
