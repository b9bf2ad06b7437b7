import { randomUUID } from 'node:crypto';
import { type ContainerConfig, NamespaceMode, type MessageInput, type PodSandboxConfig } from '../../src/wire/index.ts';
import type { CriClient } from './client.ts';
import type { Machine } from './machine.ts';

export type PodInput = MessageInput<PodSandboxConfig>;
export type ContainerInput = MessageInput<ContainerConfig>;

/** A pod's configuration as a kubelet sends it; a part that is given replaces the default of that part. */
export function podConfig(machine: Machine, name: string, more: PodInput = {}): PodInput {
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

/** Runs a pod with one container in it. */
export async function runPod(
  client: CriClient,
  config: PodInput,
  container: ContainerInput,
  runtimeHandler = '',
): Promise<{ podSandboxId: string; containerId: string }> {
  const { podSandboxId } = await client.RunPodSandbox({ config, runtimeHandler });
  const { containerId } = await client.CreateContainer({ podSandboxId, config: container, sandboxConfig: config });
  await client.StartContainer({ containerId });
  return { podSandboxId, containerId };
}
