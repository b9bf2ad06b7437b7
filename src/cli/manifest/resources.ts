/** From requests and limits to what the kernel is told, by the kubelet's formulas. */
import type { LinuxContainerResources, MessageInput } from '../../wire/index.ts';
import type { Pod, PodContainer, ResourceList } from './schema.ts';

const CPU_PERIOD_US = 100_000n;
const MIN_QUOTA_US = 1_000n;
const MIN_SHARES = 2n;
const MAX_SHARES = 262_144n;

const GUARANTEED_OOM = -997;
const BEST_EFFORT_OOM = 1000;

/** `nodeMemory` in bytes: the more of it a burstable container asks for, the later it is killed. */
export function resourcesOf(pod: Pod, container: PodContainer, nodeMemory: bigint): MessageInput<LinuxContainerResources> {
  const { limits } = container.resources;
  const requests = requestsOf(container);
  return {
    cpuShares: sharesOf(requests.cpu ?? 0n),
    ...(limits.cpu === undefined || limits.cpu === 0n ? {} : { cpuPeriod: CPU_PERIOD_US, cpuQuota: quotaOf(limits.cpu) }),
    ...(limits.memory === undefined ? {} : { memoryLimitInBytes: limits.memory }),
    oomScoreAdj: BigInt(oomScore(qosOf(pod), requests.memory ?? 0n, nodeMemory)),
    hugepageLimits: hugepagesOf(limits),
  };
}

/** Who has a limit and no request requests the limit. */
function requestsOf({ resources: { requests, limits } }: PodContainer): Pick<ResourceList, 'cpu' | 'memory'> {
  return { cpu: requests.cpu ?? limits.cpu, memory: requests.memory ?? limits.memory };
}

function sharesOf(milliCpu: bigint): bigint {
  const shares = (milliCpu * 1024n) / 1000n;
  return shares < MIN_SHARES ? MIN_SHARES : shares > MAX_SHARES ? MAX_SHARES : shares;
}

function quotaOf(milliCpu: bigint): bigint {
  const quota = (milliCpu * CPU_PERIOD_US) / 1000n;
  return quota < MIN_QUOTA_US ? MIN_QUOTA_US : quota;
}

function hugepagesOf(limits: ResourceList): { pageSize: string; limit: bigint }[] {
  const sizes = [
    { pageSize: '2MB', limit: limits['hugepages-2Mi'] },
    { pageSize: '1GB', limit: limits['hugepages-1Gi'] },
  ];
  return sizes.flatMap(({ pageSize, limit }) => (limit === undefined ? [] : [{ pageSize, limit }]));
}

export type Qos = 'Guaranteed' | 'Burstable' | 'BestEffort';

/** Kubernetes' classes: all limits set and requested in full, nothing said at all, and everything between. */
export function qosOf({ spec }: Pod): Qos {
  const all = [...spec.initContainers, ...spec.containers];
  const said = all.some((container) => {
    const { cpu, memory } = requestsOf(container);
    return (cpu ?? 0n) > 0n || (memory ?? 0n) > 0n;
  });
  if (!said) return 'BestEffort';
  const full = all.every((container) => {
    const { limits } = container.resources;
    const requests = requestsOf(container);
    return (limits.cpu ?? 0n) > 0n && (limits.memory ?? 0n) > 0n && requests.cpu === limits.cpu && requests.memory === limits.memory;
  });
  return full ? 'Guaranteed' : 'Burstable';
}

function oomScore(qos: Qos, requestedMemory: bigint, nodeMemory: bigint): number {
  if (qos === 'Guaranteed') return GUARANTEED_OOM;
  if (qos === 'BestEffort') return BEST_EFFORT_OOM;
  const score = 1000 - Number((1000n * requestedMemory) / nodeMemory);
  // Between the two classes, whatever the request.
  return Math.min(Math.max(score, 1000 + GUARANTEED_OOM), BEST_EFFORT_OOM - 1);
}
