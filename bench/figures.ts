import { setTimeout as delay } from 'node:timers/promises';
import { type Peer, SETTLE_MS } from './peers.ts';
import { cpuOf, memoryOf, processesIn } from './processes.ts';
import { pullingBenches } from './pulling.ts';
import { streamingBenches } from './streaming.ts';
import { type Bench, type Pod, type Sink, down, listening, timed, up } from './work.ts';

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
  ...streamingBenches,
  ...pullingBenches,
];

async function execs(samples: Sink, figure: string, peer: Peer, { containerId }: Pod): Promise<void> {
  for (let n = 0; n < 3; n++)
    await timed(samples, figure, peer, () => peer.client.ExecSync({ containerId, cmd: ['/bin/true'], timeout: 10n }));
}

async function thirtyPods(peer: Peer, samples: Sink): Promise<void> {
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
