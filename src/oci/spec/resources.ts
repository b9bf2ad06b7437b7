import { Failure } from '../../errors/index.ts';
import { annotationValue } from './annotation-keys.ts';
import type { ContainerSpecInput, ResolvedDevices } from './input.ts';
import type { LinuxContainerResources, StringMap } from './request.ts';
import type { Int64, OciDeviceCgroup, OciResources } from './types.ts';
import { workloadResources } from './workloads.ts';

/** The label the kubelet gives each container: names it in per-container annotations [F34]. */
export const CONTAINER_NAME_LABEL = 'io.kubernetes.container.name';

/** CPU numbers as they end up in the spec, after the workload [F29, F38]. */
export interface CpuPlan {
  readonly shares: bigint;
  readonly quota: bigint;
  readonly period: bigint;
  readonly cpus: string;
  readonly mems: string;
}

/** `linux.resources` of a container [F29–F40, L31–L40, L54–L60]. */
export function buildResources(input: ContainerSpecInput, cpu: CpuPlan | undefined): OciResources {
  const { host, settings } = input;
  const wanted = input.config.linux?.resources;
  const memory = wanted === undefined ? undefined : memoryOf(wanted, input);
  const unified = unifiedOf(input);
  return {
    devices: deviceRules(input.devices),
    ...(memory === undefined ? {} : { memory }),
    ...(cpu === undefined ? {} : { cpu: cpuSection(cpu) }),
    ...(host.pidsController && !refusesUnlimited(input) ? { pids: { limit: int64(settings.pidsLimit) } } : {}),
    ...(input.blockIo === undefined ? {} : { blockIO: input.blockIo }),
    ...(wanted === undefined || !host.hugetlb || wanted.hugepageLimits.length === 0
      ? {}
      : { hugepageLimits: wanted.hugepageLimits.map(({ pageSize, limit }) => ({ pageSize, limit: int64(limit) })) }),
    ...(unified.size === 0 ? {} : { unified: toRecord(unified) }),
  };
}

/** crun writes -1 as it is to a v1 cgroup, whose pids.max wants a word; without the field the limit is the same: none. */
function refusesUnlimited({ host, runtime, settings }: ContainerSpecInput): boolean {
  return settings.pidsLimit === -1n && host.cgroupVersion === 1 && (runtime.crun ?? runtime.ociVersionMax === undefined);
}

/** CRI's CPU fields with the workload's over them; undefined if neither says anything [F29, L59]. */
export function planCpu(input: Pick<ContainerSpecInput, 'config' | 'sandbox' | 'workload'>): CpuPlan | undefined {
  const wanted = input.config.linux?.resources;
  const name = input.config.metadata?.name ?? '';
  const workload = workloadResources(input.workload, input.sandbox.annotations, name);
  const nothing = workload.cpuShares === 0n && workload.cpuQuota === 0n && workload.cpuPeriod === 0n && workload.cpuset === '';
  if (wanted === undefined && nothing) return undefined;
  const plan: CpuPlan = {
    shares: workload.cpuShares || (wanted?.cpuShares ?? 0n),
    quota: workload.cpuQuota || (wanted?.cpuQuota ?? 0n),
    period: workload.cpuPeriod || (wanted?.cpuPeriod ?? 0n),
    cpus: workload.cpuset || (wanted?.cpusetCpus ?? ''),
    mems: wanted?.cpusetMems ?? '',
  };
  if (plan.shares < 0n || plan.period < 0n)
    throw new Failure('InvalidArgument', `cpu shares (${plan.shares}) and cpu period (${plan.period}) cannot be negative`);
  return plan;
}

function cpuSection(cpu: CpuPlan): NonNullable<OciResources['cpu']> {
  return {
    shares: int64(cpu.shares),
    quota: int64(cpu.quota),
    period: int64(cpu.period),
    ...(cpu.cpus === '' ? {} : { cpus: cpu.cpus }),
    ...(cpu.mems === '' ? {} : { mems: cpu.mems }),
  };
}

/** Limit and swap [F30, F31, L32]; swap is the limit, so none is left over, unless CRI says more. */
function memoryOf(wanted: LinuxContainerResources, input: ContainerSpecInput): OciResources['memory'] | undefined {
  const limit = wanted.memoryLimitInBytes;
  if (limit === 0n) return undefined;
  if (limit < input.minMemory)
    throw new Failure('InvalidArgument', `set memory limit ${limit} too low; should be at least ${input.minMemory} bytes`, {
      advice: 'Raise the memory limit, or lower container_min_memory of the runtime handler.',
    });
  if (!input.host.swapAccounting) return { limit: int64(limit) };
  const swap = wanted.memorySwapLimitInBytes === 0n ? limit : wanted.memorySwapLimitInBytes;
  if (swap > 0n && swap < limit) {
    const text = `container ${input.id} create failed because memory swap limit (${swap}) cannot be lower than memory limit (${limit})`;
    throw new Failure('Unknown', text);
  }
  return { limit: int64(limit), swap: int64(swap) };
}

/** CRI's map on cgroup v2, then the pod's annotation for this container over it [F33–F34, L34–L36, P16]. */
function unifiedOf(input: ContainerSpecInput): Map<string, string> {
  const unified = new Map(input.host.cgroupVersion === 2 ? input.config.linux?.resources?.unified : undefined);
  const container = input.config.labels.get(CONTAINER_NAME_LABEL) ?? '';
  const key = 'unified-cgroup.crio.io';
  const text = annotationValue(input.sandbox.annotations, key, container) ?? dotted(input.sandbox.annotations, container);
  for (const part of (text ?? '').split(';')) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    if (equals < 1) throw new Failure('Unknown', `invalid annotation "${key}/${container}"`);
    unified.set(part.slice(0, equals), decoded(part.slice(equals + 1)));
  }
  return unified;
}

/** The historic form with a dot before the container's name, which CRI-O 1.37 no longer finds. */
function dotted(annotations: StringMap, container: string): string | undefined {
  return annotations.get(`io.kubernetes.cri-o.UnifiedCgroup.${container}`);
}

/** Base64 if it is that and holds text: CRI-O also decodes `1000`, to three bytes of garbage. */
function decoded(value: string): string {
  if (value.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(value)) return value;
  const bytes = Buffer.from(value, 'base64');
  return bytes.every((byte) => byte === 9 || byte === 10 || (byte >= 32 && byte < 127)) ? bytes.toString('ascii') : value;
}

/** Deny all, then the devices' rules; or one rule that allows all [F1, F104, G76, G80]. */
export function deviceRules(devices: Pick<ResolvedDevices, 'rules' | 'allowAll'>): OciDeviceCgroup[] {
  if (devices.allowAll) return [{ allow: true, access: 'rwm' }];
  return [{ allow: false, access: 'rwm' }, ...devices.rules.map((rule) => ({ ...rule }))];
}

/** The infra container's: least weight, `infra_ctr_cpuset` [D74, L43]. */
export function infraResources(cpuset: string): OciResources {
  return {
    devices: [{ allow: false, access: 'rwm' }],
    cpu: { shares: 2, ...(cpuset === '' ? {} : { cpus: cpuset }) },
  };
}

/** A number where that is exact. */
export function int64(value: bigint): Int64 {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** A record without prototype, sorted by key, for maps whose keys come from outside. */
export function toRecord(map: StringMap): Record<string, string> {
  const record = Object.create(null) as Record<string, string>;
  for (const key of [...map.keys()].sort()) record[key] = map.get(key) ?? '';
  return record;
}
