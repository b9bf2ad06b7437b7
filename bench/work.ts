import type { ImageName } from '../test/harness/images.ts';
import { imageReference } from '../test/harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, startPod, untilListening } from '../test/harness/pods.ts';
import type { Peer } from './peers.ts';
import type { Samples } from './samples.ts';

export const WORKLOAD_IMAGE = imageReference('busybox');

/** One kind of work; each round of it adds one sample or more to its figures. Times in seconds, memory in bytes. */
export interface Bench {
  readonly figures: readonly string[];
  /** How often it is done on each peer, in alternation; a first round before them is not counted. */
  readonly rounds: number;
  /** Besides the pods' image. */
  readonly images?: readonly ImageName[];
  readonly rivals?: readonly Rival[];
  round(peer: Peer, samples: Sink): Promise<void>;
}

/** Who does a part of that work, without CRI; started for it. */
export interface Rival {
  readonly name: string;
  start(): Promise<{ round(samples: Sink): Promise<void>; end(): Promise<void> }>;
}

export type Sink = Pick<Samples, 'add'>;

export interface Pod {
  readonly podSandboxId: string;
  readonly containerId: string;
}

export async function up(peer: Peer, name: string, handler: string, command: readonly string[] = OBEDIENT): Promise<Pod> {
  const config: PodInput = podConfig(peer.machine, name);
  return await startPod(peer.client, config, containerConfig('main', WORKLOAD_IMAGE, command), handler);
}

/** To be waited for before a pod is taken down: that it obeys is what is measured. */
export async function listening({ client }: Peer, pod: Pod): Promise<Pod> {
  await untilListening(client, pod.containerId);
  return pod;
}

export async function down({ client }: Peer, { podSandboxId, containerId }: Pod): Promise<void> {
  await client.StopContainer({ containerId, timeout: 10n });
  await client.RemoveContainer({ containerId });
  await client.StopPodSandbox({ podSandboxId });
  await client.RemovePodSandbox({ podSandboxId });
}

export async function pull({ client }: Peer, image: string): Promise<void> {
  await client.PullImage({ image: { image } }, { timeoutMs: 600_000 });
}

export async function timed<T>(samples: Sink, figure: string, peer: { readonly name: string }, work: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await work();
  samples.add(figure, peer.name, (performance.now() - began) / 1000);
  return result;
}
