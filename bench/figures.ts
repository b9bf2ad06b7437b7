import { setTimeout as delay } from 'node:timers/promises';
import { imageReference } from '../test/harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, startPod, untilListening } from '../test/harness/pods.ts';
import type { Peer } from './peers.ts';
import { cpuOf, memoryOf, processesIn } from './processes.ts';
import type { Samples } from './samples.ts';

export const WORKLOAD_IMAGE = imageReference('busybox');
export const LAYERED_IMAGE = imageReference('layers');

/** One kind of work; each round of it adds one sample or more to its figures. Times in seconds, memory in bytes. */
export interface Bench {
  readonly figures: readonly string[];
  /** How often it is done on each peer, in alternation; a first round before them is not counted. */
  readonly rounds: number;
  round(peer: Peer, samples: Pick<Samples, 'add'>): Promise<void>;
}

const MANY = 30;
const AT_ONCE = 8;

export const BENCHES: readonly Bench[] = [
  {
    figures: ['pod_up', 'pod_down', 'execsync', 'daemon_cpu_per_pod'],
    rounds: 15,
    async round(peer, samples) {
      const cpu = cpuOf(peer.daemonPid);
      const pod = await timed(samples, 'pod_up', peer, () => up(peer, 'one', 'runc'));
      const beforeExec = cpuOf(peer.daemonPid);
      await execs(samples, 'execsync', peer, pod);
      await listening(peer, pod);
      const afterExec = cpuOf(peer.daemonPid);
      await timed(samples, 'pod_down', peer, () => down(peer, pod));
      await delay(SETTLE_MS);
      samples.add('daemon_cpu_per_pod', peer.name, cpuOf(peer.daemonPid) - afterExec + beforeExec - cpu);
    },
  },
  {
    figures: ['pod_up_crun', 'execsync_crun'],
    rounds: 15,
    async round(peer, samples) {
      const pod = await timed(samples, 'pod_up_crun', peer, () => up(peer, 'crun', 'crun'));
      await execs(samples, 'execsync_crun', peer, pod);
      await down(peer, await listening(peer, pod));
    },
  },
  { figures: ['pods_parallel_s', 'list_30', 'pod_pss', 'daemon_pss', 'daemon_anon'], rounds: 3, round: thirtyPods },
  {
    figures: ['pull_cold', 'pull_warm'],
    rounds: 5,
    async round(peer, samples) {
      await peer.client.RemoveImage({ image: { image: LAYERED_IMAGE } });
      await delay(SETTLE_MS);
      await timed(samples, 'pull_cold', peer, () => pull(peer, LAYERED_IMAGE));
      await timed(samples, 'pull_warm', peer, () => pull(peer, LAYERED_IMAGE));
    },
  },
];

async function execs(samples: Pick<Samples, 'add'>, figure: string, peer: Peer, { containerId }: Pod): Promise<void> {
  for (let n = 0; n < 3; n++)
    await timed(samples, figure, peer, () => peer.client.ExecSync({ containerId, cmd: ['/bin/true'], timeout: 10n }));
}

/** What a daemon does after its answer (exits, events, garbage) belongs to the work that it answered. */
const SETTLE_MS = 300;

async function thirtyPods(peer: Peer, samples: Pick<Samples, 'add'>): Promise<void> {
  const pods: Pod[] = [];
  await timed(samples, 'pods_parallel_s', peer, async () => {
    let next = 0;
    const worker = async () => {
      for (let n = next++; n < MANY; n = next++) pods.push(await up(peer, `many-${n}`, 'runc'));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  });
  await delay(SETTLE_MS);
  for (let n = 0; n < 20; n++) {
    await timed(samples, 'list_30', peer, () => peer.client.ListPodSandbox());
    await timed(samples, 'list_30', peer, () => peer.client.ListContainers());
  }
  samples.add('pod_pss', peer.name, (await memoryBesideWorkload(peer)) / MANY);
  const daemon = memoryOf(peer.daemonPid);
  samples.add('daemon_pss', peer.name, daemon.pss);
  samples.add('daemon_anon', peer.name, daemon.anonymous);
  for (const pod of pods) await down(peer, pod);
}

/** PSS of everything that runs for pods and is not what the pods were started for: monitors, shims, pauses. */
async function memoryBesideWorkload(peer: Peer): Promise<number> {
  const daemon = peer.machine.pidInside(peer.daemonPid);
  const monitors = processesIn(peer.machine.path('/proc')).filter(
    ({ pid, command }) => pid !== daemon && /conmon|containerd-shim|catatonit|\/pause/.test(command),
  );
  const rollups = monitors.map(({ pid }) => `/proc/${pid}/smaps_rollup`);
  const { stdout } = await peer.machine.exec(['cat', '/dev/null', ...rollups]);
  return stdout
    .toString('utf8')
    .matchAll(/^Pss: +(\d+) kB/gm)
    .reduce((sum, match) => sum + Number(match[1]) * 1024, 0);
}

interface Pod {
  readonly podSandboxId: string;
  readonly containerId: string;
}

async function up(peer: Peer, name: string, handler: string): Promise<Pod> {
  const config: PodInput = podConfig(peer.machine, name);
  return await startPod(peer.client, config, containerConfig('main', WORKLOAD_IMAGE, OBEDIENT), handler);
}

/** To be waited for before a pod is taken down: that it obeys is what is measured. */
async function listening({ client }: Peer, pod: Pod): Promise<Pod> {
  await untilListening(client, pod.containerId);
  return pod;
}

async function down({ client }: Peer, { podSandboxId, containerId }: Pod): Promise<void> {
  await client.StopContainer({ containerId, timeout: 10n });
  await client.RemoveContainer({ containerId });
  await client.StopPodSandbox({ podSandboxId });
  await client.RemovePodSandbox({ podSandboxId });
}

export async function pull({ client }: Peer, image: string): Promise<void> {
  await client.PullImage({ image: { image } });
}

async function timed<T>(samples: Pick<Samples, 'add'>, figure: string, peer: Peer, work: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await work();
  samples.add(figure, peer.name, (performance.now() - began) / 1000);
  return result;
}
