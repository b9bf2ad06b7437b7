import { Failure, textOf } from '../../errors/index.ts';
import { parseExactJson } from '../../files/index.ts';
import type { Workload, WorkloadResources } from './input.ts';
import type { StringMap } from './request.ts';

const NOTHING: WorkloadResources = { cpuShares: 0n, cpuQuota: 0n, cpuPeriod: 0n, cpuLimit: 0n, cpuset: '' };

/**
 * What a workload sets on one container [F38, L54–L60, B117–B124]: the pod annotation `<prefix>/<container>` with
 * missing numbers from the workload's table, else the table alone. Zero and empty leave CRI's value.
 * `cpulimit` (milli) counts only with the annotation. A broken annotation fails the container.
 */
export function workloadResources(workload: Workload | undefined, podAnnotations: StringMap, container: string): WorkloadResources {
  if (workload === undefined) return NOTHING;
  const table = workload.resources ?? NOTHING;
  const text = podAnnotations.get(`${workload.annotationPrefix}/${container}`);
  if (text === undefined) return { ...table, cpuLimit: 0n };
  const own = parseOverride(text);
  const merged: WorkloadResources = {
    cpuShares: own.cpuShares || table.cpuShares,
    cpuQuota: own.cpuQuota || table.cpuQuota,
    cpuPeriod: own.cpuPeriod || table.cpuPeriod,
    cpuLimit: own.cpuLimit || table.cpuLimit,
    cpuset: own.cpuset || table.cpuset,
  };
  return merged.cpuLimit === 0n ? merged : { ...merged, cpuQuota: quotaOf(merged.cpuLimit, merged.cpuPeriod) };
}

/** Milli CPUs to microseconds per period, at least the kernel's smallest quota [L58]. */
function quotaOf(milliCpus: bigint, period: bigint): bigint {
  const quota = (milliCpus * (period === 0n ? 100_000n : period)) / 1000n;
  return quota < 1000n ? 1000n : quota;
}

function parseOverride(text: string): WorkloadResources {
  let json: unknown;
  try {
    json = parseExactJson(text);
  } catch (error) {
    throw new Failure('Unknown', textOf(error), { cause: error });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw notThat('object');
  const fields = json as Readonly<Record<string, unknown>>;
  const number = (key: string) => {
    const value = fields[key] ?? 0;
    if (typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value))) return BigInt(value);
    throw notThat(`number in field ${key}`);
  };
  const cpuset = fields['cpuset'] ?? '';
  if (typeof cpuset !== 'string') throw notThat('string in field cpuset');
  return {
    cpuShares: number('cpushares'),
    cpuQuota: number('cpuquota'),
    cpuPeriod: number('cpuperiod'),
    cpuLimit: number('cpulimit'),
    cpuset,
  };
}

function notThat(expected: string): Failure {
  return new Failure('Unknown', `json: cannot unmarshal the workload annotation: expected ${expected}`);
}
