import { mkdirSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { APART, imageStorage } from '../test/harness/images.ts';
import { Machine } from '../test/harness/machine.ts';
import { newerDebianOn } from '../test/harness/newer-debian.ts';
import { REGISTRY, imageReference } from '../test/harness/node.ts';
import { RegistryStorage } from '../test/harness/registry-storage.ts';
import { startRegistry } from '../test/harness/registry.ts';
import { loopDelay } from './loop-delay.ts';
import { type Peer, SETTLE_MS } from './peers.ts';
import { memoryOf } from './processes.ts';
import { type Bench, type Rival, pull, timed } from './work.ts';

const LAYERED = imageReference('layers');
const HUGE = imageReference('huge');
const CRIO_STORE = '/var/lib/containers';

/** podman of the newer Debian, as a person uses it: one process a pull. */
const podman: Rival = {
  name: 'podman',
  async start() {
    const machine = new Machine();
    await machine.start();
    const { enter } = await newerDebianOn(machine);
    const registry = await startRegistry({
      images: ['layers'],
      address: REGISTRY,
      spawn: (argv, stdio, env) => machine.spawn(argv, stdio, env),
    });
    const run = async (...args: string[]) => void (await machine.exec(enter(['podman', ...args])));
    return {
      async round(samples) {
        await run('rmi', '--all', '--force');
        await delay(SETTLE_MS);
        await timed(samples, 'pull_cold', podman, () => run('pull', '--quiet', '--tls-verify=false', LAYERED));
        await timed(samples, 'pull_warm', podman, () => run('pull', '--quiet', '--tls-verify=false', LAYERED));
      },
      async end() {
        await machine.end();
        await registry.stop();
      },
    };
  },
};

/** The floor: `tar x` of the layers of these images, all at once, from files to the disk that the stores lie on. */
function tar(figure: string, images: readonly ('layers' | (typeof APART)[number])[]): Rival {
  const rival: Rival = {
    name: 'tar',
    async start() {
      const machine = new Machine();
      await machine.start();
      const storage = new RegistryStorage(await imageStorage(images));
      const layers = images.flatMap((image) => storage.layerFiles(image, 'latest'));
      const target = (n: number) => `${CRIO_STORE}/floor/${n}`;
      return {
        async round(samples) {
          rmSync(machine.path(`${CRIO_STORE}/floor`), { recursive: true, force: true });
          for (const n of layers.keys()) mkdirSync(machine.path(target(n)), { recursive: true });
          await delay(SETTLE_MS);
          const unpack = (layer: string, n: number) => machine.exec(['tar', '-xzf', layer, '-C', target(n)]);
          await timed(samples, figure, rival, () => Promise.all(layers.map(unpack)));
        },
        end: () => machine.end(),
      };
    },
  };
  return rival;
}

export const pullingBenches: readonly Bench[] = [
  {
    figures: ['pull_cold', 'pull_warm', 'pull_loop_p99'],
    images: ['layers'],
    rounds: 5,
    rivals: [podman, tar('pull_cold', ['layers'])],
    async round(peer, samples) {
      await removed(peer, LAYERED);
      await loopDelay(peer);
      await timed(samples, 'pull_cold', peer, () => pull(peer, LAYERED));
      const p99 = await loopDelay(peer);
      if (p99 !== undefined) samples.add('pull_loop_p99', peer.name, p99);
      await timed(samples, 'pull_warm', peer, () => pull(peer, LAYERED));
    },
  },
  {
    figures: ['pull_8_s'],
    images: APART,
    rounds: 5,
    rivals: [tar('pull_8_s', APART)],
    async round(peer, samples) {
      const images = APART.map(imageReference);
      for (const image of images) await removed(peer, image);
      await timed(samples, 'pull_8_s', peer, () => Promise.all(images.map((image) => pull(peer, image))));
    },
  },
  {
    figures: ['pull_2g_s', 'pull_2g_peak_anon', 'pull_2g_idle_anon'],
    images: ['huge'],
    rounds: 2,
    async round(peer, samples) {
      await removed(peer, HUGE);
      await delay(REST_MS);
      samples.add('pull_2g_idle_anon', peer.name, memoryOf(peer.daemonPid).anonymous);
      const peak = await peakWhile(peer, () => timed(samples, 'pull_2g_s', peer, () => pull(peer, HUGE)));
      samples.add('pull_2g_peak_anon', peer.name, peak);
    },
  },
];

/** How long a daemon may take to give back what a piece of work needed: its threads wait half a minute for more, and V8 lets go of its pages in rounds of eight seconds. */
const REST_MS = 55_000;
const SAMPLE_MS = 50;

async function removed(peer: Peer, image: string): Promise<void> {
  await peer.client.RemoveImage({ image: { image } });
  await delay(SETTLE_MS);
}

/** The most anonymous memory of the daemon, in bytes, while the work is done. */
async function peakWhile({ daemonPid }: Peer, work: () => Promise<void>): Promise<number> {
  let peak = 0;
  const sampling = setInterval(() => (peak = Math.max(peak, memoryOf(daemonPid).anonymous)), SAMPLE_MS);
  try {
    await work();
  } finally {
    clearInterval(sampling);
  }
  return peak;
}
