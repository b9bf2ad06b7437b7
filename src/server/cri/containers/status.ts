import { type Container, type ContainerContext, type ContainerState, startedAt } from '../../../containers/index.ts';
import { type OciSpec, encodeSpec } from '../../../oci/spec/index.ts';
import type { ContainerStatus, ContainerStatusRequest, ContainerStatusResponse, MessageInput } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';
import { imageRef, wireState } from './list.ts';
import { findContainer } from './lookup.ts';

/** Shows the last known state; the runtime is not asked [D162]. */
export function containerStatus(containers: ContainerContext): Handler<ContainerStatusRequest, ContainerStatusResponse> {
  return async ({ containerId, verbose }) => {
    const container = findContainer(containers.registry, containerId);
    return { status: statusOfContainer(container), info: verbose ? new Map([['info', verboseInfo(container)]]) : new Map() };
  };
}

/** [D157–D161] */
export function statusOfContainer(container: Container): MessageInput<ContainerStatus> {
  const { facts, state } = container;
  return {
    id: container.id,
    metadata: facts.metadata,
    state: wireState(container),
    createdAt: facts.createdAt,
    startedAt: startedAt(state) ?? 0n,
    ...ending(state),
    image: { image: facts.image.someName },
    imageRef: imageRef(container),
    imageId: facts.image.id,
    labels: facts.labels,
    annotations: facts.annotations,
    mounts: facts.mounts,
    logPath: facts.logPath,
    resources: { linux: resourcesOf(facts.spec) },
    user: { linux: userOf(facts.spec) },
  };
}

function ending(state: ContainerState): Pick<MessageInput<ContainerStatus>, 'finishedAt' | 'exitCode' | 'reason' | 'message'> {
  if (state.status !== 'stopped') return {};
  const { finishedAt, exitCode, oomKilled, seccompKilled, error } = state;
  const reason = oomKilled ? 'OOMKilled' : seccompKilled ? 'seccomp killed' : exitCode === 0 ? 'Completed' : 'Error';
  return { finishedAt, exitCode: exitCode ?? -1, reason, message: error };
}

function userOf(spec: OciSpec) {
  const { uid, gid, additionalGids } = spec.process.user;
  return { uid: BigInt(uid), gid: BigInt(gid), supplementalGroups: (additionalGids ?? []).map(BigInt) };
}

function resourcesOf(spec: OciSpec) {
  const resources = spec.linux.resources;
  const { cpu, memory } = resources ?? {};
  return {
    cpuPeriod: BigInt(cpu?.period ?? 0),
    cpuQuota: BigInt(cpu?.quota ?? 0),
    cpuShares: BigInt(cpu?.shares ?? 0),
    cpusetCpus: cpu?.cpus ?? '',
    cpusetMems: cpu?.mems ?? '',
    memoryLimitInBytes: BigInt(memory?.limit ?? 0),
    memorySwapLimitInBytes: BigInt(memory?.swap ?? 0),
    oomScoreAdj: BigInt(spec.process.oomScoreAdj ?? 0),
    hugepageLimits: (resources?.hugepageLimits ?? []).map(({ pageSize, limit }) => ({ pageSize, limit: BigInt(limit) })),
    unified: new Map(Object.entries(resources?.unified ?? {})),
  };
}

/** [D163] */
function verboseInfo(container: Container): string {
  const { pod, privileged, spec } = container.facts;
  const pid = container.state.status === 'stopped' ? 0 : (container.init?.pid ?? 0);
  return `{"sandboxID":${JSON.stringify(pod.id)},"pid":${pid},"runtimeSpec":${encodeSpec(spec)},"privileged":${privileged}}`;
}
