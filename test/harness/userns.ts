import { type MessageInput, NamespaceMode, type NamespaceOption, type UserNamespace } from '../../src/wire/index.ts';
import type { CriClient } from './client.ts';
import type { Machine } from './machine.ts';
import { type PodInput, podConfig } from './pods.ts';

/** The ids that a kubelet gives a pod: a whole range of 65,536, one line. */
export const RANGE = [{ hostId: 196_608, containerId: 0, length: 65_536 }] as const;
/** Root of such a pod on the host. */
export const ROOT = RANGE[0].hostId;

/** A pod with `hostUsers: false`, as a kubelet sends it. */
export function userPod(machine: Machine, name: string, options: MessageInput<NamespaceOption> = {}, more: PodInput = {}): PodInput {
  return withUserNamespace(podConfig(machine, name, more), options);
}

export function withUserNamespace(config: PodInput, options: MessageInput<NamespaceOption> = {}): PodInput {
  const usernsOptions: MessageInput<UserNamespace> = { mode: NamespaceMode.POD, uids: RANGE, gids: RANGE };
  return withNamespaces(config, { usernsOptions, ...options });
}

/** The pod with other namespace options than the usual ones. */
function withNamespaces(config: PodInput, options: MessageInput<NamespaceOption>): PodInput {
  const namespaceOptions = { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid: NamespaceMode.CONTAINER, ...options };
  return { ...config, linux: { ...config.linux, securityContext: { ...config.linux?.securityContext, namespaceOptions } } };
}

/** What a shell in the container prints, and how it ended if that was not well. */
export async function sh(client: CriClient, containerId: string, script: string): Promise<string> {
  const { stdout, stderr, exitCode } = await client.ExecSync({ containerId, cmd: ['sh', '-c', script], timeout: 20n });
  const text = Buffer.concat([stdout, stderr]).toString('utf8').trim();
  return exitCode === 0 ? text : `${text} (exit ${exitCode})`;
}

/** The PID of a container's first process, as the node knows it. */
export async function pidOf(client: CriClient, containerId: string): Promise<number> {
  const { info } = await client.ContainerStatus({ containerId, verbose: true });
  return (JSON.parse(info.get('info') ?? '') as { pid: number }).pid;
}
