import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { textValue } from '../../src/resources/systemd/wire.ts';
import { removeCgroups } from '../harness/cgroups.ts';
import { BUSYBOX, REGISTRY, TestNode } from '../harness/node.ts';
import { podConfig } from '../harness/pods.ts';
import { soon } from '../harness/processes.ts';
import { type AskedUnit, SystemdStandIn } from '../harness/systemd-stand-in.ts';
import { crioProgram } from '../harness/tools.ts';

/** In front of the registry: of a layer it lets the beginning through, and nothing more. */
const STALLING = '127.0.0.1:5002';
const PROXY = `
const http = require('node:http');
const server = http.createServer((asked, answer) => {
  http.get({ port: 5000, path: asked.url, headers: asked.headers }, (from) => {
    answer.writeHead(from.statusCode, from.headers);
    if (Number(from.headers['content-length']) > 100000) from.once('data', (piece) => { from.pause(); answer.write(piece.subarray(0, 1000)); });
    else from.pipe(answer);
  });
});
server.listen(5002, '127.0.0.1', () => console.log('ready'));`;
const SETTING = '/etc/crio/crio.conf.d/60-pulls.conf';
const STORE = '/var/lib/containers/storage';
const HIERARCHY = existsSync('/sys/fs/cgroup/cgroup.controllers') ? '/sys/fs/cgroup' : '/sys/fs/cgroup/memory';

const node = new TestNode({
  withoutNetwork: true,
  images: ['busybox'],
  files: {
    '/etc/containers/registries.conf': [REGISTRY, STALLING].map((host) => `[[registry]]\nlocation = "${host}"\ninsecure = true\n`).join(''),
  },
});
let standIn: SystemdStandIn;

const pull = async (image: string, more: object = {}) => (await node.client.PullImage({ image: { image }, ...more })).imageRef;
const pullIn = (slice: string) =>
  node.write(SETTING, `[crio.runtime]\ncgroup_manager = "systemd"\nconmon_cgroup = "pod"\nseparate_pull_cgroup = "${slice}"\n`);
const valueOf = (unit: AskedUnit, property: string) => unit.properties.get(property)?.value;
const pidOf = (unit: AskedUnit) => (valueOf(unit, 'PIDs') as number[])[0] ?? 0;

/** As systemd does. */
async function move(unit: AskedUnit): Promise<void> {
  const scope = `${HIERARCHY}/${textValue(valueOf(unit, 'Slice'))}/${unit.name}`;
  await node.exec(['sh', '-ec', `mkdir -p ${scope}; echo ${pidOf(unit)} > ${scope}/cgroup.procs`]);
}

/** The next pull's unit, when the pull holds the beginning of a layer in its hands. */
async function held(): Promise<{ readonly unit: AskedUnit; readonly pid: number }> {
  const known = standIn.units.length;
  await soon('a pull has begun a layer', () => standIn.units.length > known && layersBegun().length > 0, 20_000);
  const unit = standIn.units[known];
  assert.ok(unit !== undefined);
  return { unit, pid: pidOf(unit) };
}

/** Layers that are being unpacked, by whatever process. */
function layersBegun(): string[] {
  const staging = node.path(`${STORE}/overlay/staging`);
  return readdirSync(staging).flatMap((name) => readdirSync(join(staging, name)).filter((inside) => inside !== 'staging.lock'));
}
const stagings = () => readdirSync(node.path(`${STORE}/overlay/staging`)).length;
const isAlive = (pid: number) => existsSync(node.path(`/proc/${pid}`));

before(async () => {
  await node.boot();
  mkdirSync(node.path('/run/dbus'));
  standIn = new SystemdStandIn(node.path('/run/dbus'));
  standIn.onUnit = move;
  await standIn.start();
  await node.registry();
  const proxy = node.machine.spawn([process.execPath, '-e', PROXY], ['ignore', 'pipe', 'inherit']);
  assert.ok(proxy.stdout);
  await once(proxy.stdout, 'data');
  pullIn('criopulls.slice');
  await node.start();
  await node.remember();
});
afterEach(async () => assert.deepEqual(await node.leaks(), []));
after(async () => {
  await node.end();
  await standIn.stop();
  for (const slice of ['criopulls', 'criotest-pod1']) await removeCgroups(`/${slice}.slice`);
});

test('[I37, B83] a pull runs in a process of its own, in a scope of the slice; one that nobody waits for any more leaves nothing', async () => {
  const before = stagings();
  const client = node.machine.spawn([crioProgram, 'pull', `${STALLING}/busybox`], 'ignore');
  const ended = once(client, 'exit');
  const { unit, pid } = await held();
  assert.equal(unit.name, `crio-pull-image-${pid}.scope`);
  assert.equal(valueOf(unit, 'Slice'), 'criopulls.slice');
  assert.equal(unit.properties.has('KillSignal'), false, 'who stops the slice stops the pull');
  const read = (file: string) => readFileSync(node.path(`/proc/${pid}/${file}`), 'utf8');
  assert.match(read('cgroup'), new RegExp(`:(memory)?:/criopulls.slice/${unit.name}$`, 'm'));
  assert.match(read('cmdline'), new RegExp(`^crio-pull-image ${STALLING}/busybox(:latest)?\0`));
  process.kill(node.machine.pidOf(client) ?? 0, 'SIGKILL');
  await ended;
  await soon('the process has gone', () => !isAlive(pid), 8000);
  assert.deepEqual([layersBegun(), stagings()], [[], before]);
});

test('[I37] what came of it is the daemon’s at once, with its errors unchanged', async () => {
  const id = await pull(BUSYBOX);
  const { images } = await node.client.ListImages();
  assert.equal(images.find(({ repoTags }) => repoTags.includes(BUSYBOX))?.id, id);
  assert.equal((await node.client.ImageStatus({ image: { image: BUSYBOX } })).image?.id, id);
  assert.match(
    node.log(),
    /msg="Stored image [0-9a-f]{64} from [^ ]+: 1 layers, [^"]*" id=\S+ name=\/runtime\.v1\.ImageService\/PullImage/,
  );
  await assert.rejects(pull('127.0.0.1:1/nothing'), /RegistryUnavailable: unable to pull image: .*connection refused/);
  await assert.rejects(pull(`${REGISTRY}/unknown`), /unable to pull image or OCI artifact: .*manifest unknown/);
  node.write('/etc/containers/policy.json', '{ "default": [{ "type": "reject" }] }');
  await assert.rejects(pull(BUSYBOX), /SignatureValidationFailed: unable to pull image: /);
  node.write('/etc/containers/policy.json', '{ "default": [{ "type": "insecureAcceptAnything" }] }');
  await node.client.RemoveImage({ image: { image: BUSYBOX } });
  assert.equal(await pull(BUSYBOX), id);
  await node.client.RemoveImage({ image: { image: BUSYBOX } });
});

test('[I37] a process that is killed is told from one that failed, and what it had begun is removed', async () => {
  const pulling = assert.rejects(pull(`${STALLING}/busybox`), /pull image: killed by SIGKILL.*memory/s);
  const { pid } = await held();
  await node.exec(['kill', '-KILL', String(pid)]);
  await pulling;
  assert.deepEqual(layersBegun(), []);
});

test('[I37] a scope that systemd refuses is no pull', async () => {
  standIn.behaviour = () => ({ error: 'Access denied' });
  await assert.rejects(
    pull(BUSYBOX),
    /failed to add image pull to systemd sandbox cgroup: start transient unit "crio-pull-image-\d+\.scope": Access/,
  );
  standIn.behaviour = () => ({});
});

test('[I37] when the daemon is killed the pull ends by itself', async () => {
  const pulling = assert.rejects(pull(`${STALLING}/busybox`));
  const { pid } = await held();
  await node.kill9();
  await pulling;
  await soon('the process has gone', () => !isAlive(pid), 8000);
  assert.deepEqual(layersBegun(), []);
});

test('[I37, B83] `pod` is the cgroup parent of the request', async () => {
  pullIn('pod');
  await node.start();
  const config = podConfig(node.machine, 'p');
  const sandboxConfig = { ...config, linux: { ...config.linux, cgroupParent: '/criotest.slice/criotest-pod1.slice' } };
  const known = standIn.units.length;
  await pull(BUSYBOX, { sandboxConfig });
  assert.deepEqual(
    standIn.units.slice(known).map((unit) => valueOf(unit, 'Slice')),
    ['criotest-pod1.slice'],
  );
  await node.client.RemoveImage({ image: { image: BUSYBOX } });
});
