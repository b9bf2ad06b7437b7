import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type ContainerConfig,
  ContainerState,
  type ContainerStatus,
  NamespaceMode,
  type MessageInput,
  type PodSandboxConfig,
} from '../../src/wire/index.ts';
import type { CriClient } from './client.ts';
import type { Machine } from './machine.ts';

export type PodInput = MessageInput<PodSandboxConfig>;
export type ContainerInput = MessageInput<ContainerConfig>;

/** A pod's configuration as a kubelet sends it; a part that is given replaces the default of that part. */
export function podConfig(machine: Pick<Machine, 'cgroup'>, name: string, more: PodInput = {}): PodInput {
  const uid = randomUUID();
  return {
    metadata: { name, namespace: 'default', uid, attempt: 0 },
    logDirectory: `/var/log/pods/default_${name}_${uid}`,
    linux: {
      cgroupParent: `${machine.cgroup}/pod${uid}`,
      securityContext: { namespaceOptions: { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid: NamespaceMode.CONTAINER } },
    },
    ...more,
  };
}

/** A container's configuration as a kubelet sends it. */
export function containerConfig(name: string, image: string, command: readonly string[], more: ContainerInput = {}): ContainerInput {
  return {
    metadata: { name, attempt: 0 },
    image: { image, userSpecifiedImage: image },
    command,
    logPath: `${name}.log`,
    linux: { resources: { cpuShares: 2n, oomScoreAdj: 1000n }, securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
    ...more,
  };
}

/** A shell that ends at once with 0 when it is told to, as a well-behaved service does. */
export const OBEDIENT: readonly string[] = ['sh', '-c', 'trap "exit 0" TERM; sleep 1000000 & wait'];

/**
 * Runs a pod with one container in it. If that is OBEDIENT, waits until it listens: the kernel drops a signal for a
 * first process that has no handler yet, and a stop would then take its whole grace period.
 */
export async function runPod(
  client: CriClient,
  config: PodInput,
  container: ContainerInput,
  runtimeHandler = '',
): Promise<{ podSandboxId: string; containerId: string }> {
  const ids = await startPod(client, config, container, runtimeHandler);
  if (container.command === OBEDIENT) await untilListening(client, ids.containerId);
  return ids;
}

/** The three calls that a pod takes. */
export async function startPod(
  client: CriClient,
  config: PodInput,
  container: ContainerInput,
  runtimeHandler: string,
): Promise<{ podSandboxId: string; containerId: string }> {
  const { podSandboxId } = await client.RunPodSandbox({ config, runtimeHandler });
  const { containerId } = await client.CreateContainer({ podSandboxId, config: container, sandboxConfig: config });
  await client.StartContainer({ containerId });
  return { podSandboxId, containerId };
}

/** Until the container's first process catches SIGTERM: bit 14 of its mask. */
export async function untilListening(client: CriClient, containerId: string): Promise<void> {
  const script = 'until grep -q "SigCgt:.*[4567cdef]...$" /proc/1/status; do sleep 0.01; done';
  await client.ExecSync({ containerId, cmd: ['sh', '-c', script], timeout: 20n });
}

/** A container's status. */
export async function stateOf(client: CriClient, containerId: string): Promise<ContainerStatus> {
  const { status } = await client.ContainerStatus({ containerId });
  if (status === undefined) throw new Error(`no status of container ${containerId}`);
  return status;
}

/** A container's status once it has exited. CRI has no call that waits, so it is asked again, for half a minute at most. */
export async function settled(client: CriClient, containerId: string): Promise<ContainerStatus> {
  for (let tries = 0; tries < 600; tries++) {
    const status = await stateOf(client, containerId);
    if (status.state === ContainerState.CONTAINER_EXITED) return status;
    await delay(50);
  }
  throw new Error(`container ${containerId} did not exit within 30 s`);
}
