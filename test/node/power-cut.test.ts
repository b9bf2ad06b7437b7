import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../harness/expect.ts';
import { layerOf } from '../harness/images.ts';
import type { LayerSource } from '../harness/registry-storage.ts';
import { StandInRegistry } from '../harness/stand-in-registry.ts';
import { Vm, ext4Disk, nodeFiles, xfsDisk } from '../harness/vm/index.ts';

const STORE = '/var/lib/containers/storage';
const LAYERS = 5;
/** More cuts, at moments that a seed decides: CRIO_TEST_POWER_CUTS=100 CRIO_TEST_SEED=7; of a store on CRIO_TEST_POWER_FS=xfs. */
const MORE = Number(process.env['CRIO_TEST_POWER_CUTS'] ?? 0);
const makeDisk = process.env['CRIO_TEST_POWER_FS'] === 'xfs' ? xfsDisk : ext4Disk;
const SEED = process.env['CRIO_TEST_SEED'] ?? '1';

/** When the power goes. */
interface Cut {
  /** `pulled`: records and what they describe reach the disk at different times. */
  readonly during: 'pull' | 'pulled' | 'removal';
  /** During a pull: how many layers the registry hands out; of the others it gives half. All: the pull is let go. */
  readonly layers: number;
  /** So many ms after that, after the pull was answered, or after the removal was asked for. */
  readonly afterMs: number;
  /** How long the kernel keeps what was written to itself, ms: then much, little or nothing of it is on the disk. 0: all is, just before. */
  readonly writebackMs: number;
}

const CUTS: readonly Cut[] = [
  { during: 'pull', layers: 2, afterMs: 0, writebackMs: 100 },
  { during: 'pulled', layers: LAYERS, afterMs: 0, writebackMs: 5000 },
  { during: 'removal', layers: LAYERS, afterMs: 60, writebackMs: 0 },
];

const vm = new Vm();
let registry: StandInRegistry;
let kept: string;
let wanted: string;
/** The layers of the wanted one. */
const blobs = new Set<string>();
/** What the store consists of with the kept image, and with both. */
let small: string;
let full: string;

const options = { skip: Vm.unavailable ?? false };

before(async () => {
  if (Vm.unavailable !== undefined) return;
  registry = new StandInRegistry(mkdtempSync(join(tmpdir(), 'crio-power-')));
  await registry.start();
  const host = registry.host.replace('127.0.0.1', vm.hostAddress);
  [kept, wanted] = [`${host}/kept:latest`, `${host}/wanted:latest`];
  registry.storage.putImage('kept', 'latest', { layers: await layersOf('kept', 2) });
  const manifest = registry.storage.putImage('wanted', 'latest', { layers: await layersOf('wanted', LAYERS) });
  for (const { digest } of (JSON.parse(manifest.bytes.toString('utf8')) as { layers: { digest: string }[] }).layers) blobs.add(digest);
  await makeDisk(vm.disk);
  await start();
  await pull(kept);
  small = await durable();
  await pull(wanted);
  full = await durable();
});
after(async () => {
  await vm.end();
  if (registry === undefined) return;
  await registry.stop();
  rmSync(registry.storage.dir, { recursive: true, force: true });
});

test(
  '[p27] a power cut, at any moment of a pull or a removal, costs no image that was there before, and leaves nothing half',
  options,
  async (t) => {
    for (const cut of [...CUTS, ...more()]) {
      await t.test(JSON.stringify(cut), async (own) => {
        await until(cut);
        await vm.cutPower();
        await start();
        const { code, stdout, stderr } = await vm.exec(['crio', 'check'], { mayFail: true });
        assert.deepEqual([code, stdout.toString('utf8')], [0, ''], stderr);
        assert.ok(await has(kept), 'the image of before is there');
        own.diagnostic(`then the image was ${(await has(wanted)) ? 'whole' : 'not there'}`);
        await pull(wanted);
        await settled(full);
      });
    }
  },
);

/** Gets the machine to the moment at which its power goes. */
async function until({ during, layers, afterMs, writebackMs }: Cut): Promise<void> {
  if (during !== 'removal') {
    await vm.client.RemoveImage({ image: { image: wanted } });
    await settled(small);
  }
  await vm.exec(['sync']);
  const ticks = Math.max(1, writebackMs / 10);
  await vm.exec(['sysctl', '-w', `vm.dirty_writeback_centisecs=${ticks}`, `vm.dirty_expire_centisecs=${ticks}`]);
  // Neither call comes to an end when the power goes first.
  if (during === 'pulled') await pull(wanted);
  else if (during === 'removal') vm.client.RemoveImage({ image: { image: wanted } }).catch(() => {});
  else {
    const given = handedOut(layers);
    vm.client.PullImage({ image: { image: wanted } }).catch(() => {});
    await given;
  }
  await delay(afterMs);
  if (writebackMs === 0) await vm.exec(['sync']);
}

/** Lets the registry hand out so many layers and half of each other; settles when it has. */
async function handedOut(count: number): Promise<void> {
  const done = Promise.withResolvers<void>();
  let [asked, whole, half] = [0, 0, 0];
  const look = () => {
    if (whole === Math.min(count, LAYERS) && (count === LAYERS || half > 0)) done.resolve();
  };
  registry.intercept = ({ path }, response) => {
    const digest = path.slice(path.indexOf('sha256:'));
    if (!blobs.has(digest)) return false;
    if (asked++ < count) {
      response.once('finish', () => {
        whole++;
        look();
      });
      return false;
    }
    const blob = registry.blob(digest);
    response.writeHead(200, { 'Content-Length': blob.length });
    response.write(blob.subarray(0, blob.length / 2), () => {
      half++;
      look();
    });
    return true;
  };
  await done.promise;
}

/** Switches the power on, and starts the daemon on what the disk has. */
async function start(): Promise<void> {
  registry.forget();
  await vm.boot();
  await vm.exec(['mount', '/dev/vdc', '/var/lib']);
  await vm.write(nodeFiles(registry.host.replace('127.0.0.1', vm.hostAddress)));
  await vm.startDaemon();
}

async function has(image: string): Promise<boolean> {
  return (await vm.client.ImageStatus({ image: { image } })).image !== undefined;
}

async function pull(image: string): Promise<void> {
  await vm.client.PullImage({ image: { image } }, { timeoutMs: 120_000 });
}

/** Waits until nothing in the store waits for the disk, and answers what is there. */
async function durable(): Promise<string> {
  await eventually('everything is on the disk', async () => !(await contents()).includes('unsynced'));
  return await contents();
}

async function settled(expected: string): Promise<void> {
  let found = '';
  const look = async () => (found = await contents()) === expected;
  await eventually('the store is as it was', look).catch(() => assert.deepEqual(found.split('\n'), expected.split('\n')));
}

/** Everything that is in the store but for the contents of layers: a file or directory a line, links by their number. */
async function contents(): Promise<string> {
  const script = `cd ${STORE} && find . -mindepth 1 -maxdepth 3 ! -path './overlay/l/*' ! -path './overlay/*/diff/*' && ls overlay/l | wc -l`;
  const found = (await vm.exec(['sh', '-c', script])).stdout.toString('utf8').trim().split('\n');
  // Every daemon has temporary directories of its own.
  return found
    .map((line) => line.replace(/(lock|temp-dir|crio)-\d+$/, '$1'))
    .toSorted()
    .join('\n');
}

/** Layers of some MB: many small files, some large ones, links and empty directories. */
async function layersOf(name: string, count: number): Promise<LayerSource[]> {
  const layer = async (at: number) => {
    const files: Record<string, Uint8Array | string> = { [`${name}-${at}/empty/`]: '' };
    for (let file = 0; file < 60; file++)
      files[`${name}-${at}/dir-${file % 7}/file-${file}`] = noise(`${name} ${at} ${file}`, file % 20 === 0 ? 400_000 : 3000);
    return { tar: await layerOf(files) };
  };
  return await Promise.all(Array.from({ length: count }, (_, at) => layer(at)));
}

/** Bytes that cannot be compressed, always the same for a seed. */
function noise(seed: string, length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(seed).digest();
}

function more(): Cut[] {
  return Array.from({ length: MORE }, (_, at) => {
    const [kind = 0, count = 0, when = 0, writeback = 0] = noise(`${SEED} ${at}`, 4);
    const during = (['removal', 'pulled', 'pull', 'pull'] as const)[kind % 4] ?? 'pull';
    const layers = during === 'pull' ? count % (LAYERS + 1) : LAYERS;
    // Two seconds after a pull all of it is made durable; the last steps of one, and a removal, take a second here.
    const afterMs = when * (during === 'pulled' ? 10 : 4);
    return { during, layers, afterMs, writebackMs: [0, 50, 500, 5000][writeback % 4] ?? 0 };
  });
}
