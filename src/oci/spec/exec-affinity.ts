import type { ContainerSpecInput } from './input.ts';
import type { CpuPlan } from './resources.ts';
import type { OciProcess } from './types.ts';

/** Any of them on a pod asks for the treatment of high-performance pods [L63, P32]. */
const KEYS = ['cpu-load-balancing', 'cpu-quota', 'irq-load-balancing', 'cpu-c-states', 'cpu-freq-governor', 'cpu-shared'].map(
  (name) => `${name}.crio.io`,
);

/**
 * `process.execCPUAffinity` of `exec_cpu_affinity = "first"` [K66, K67, L71]: what is executed in a high-performance container
 * starts on the first of its CPUs, away from the others, on which its threads are pinned. Only where the CPUs are the container's
 * alone: not in burstable and best-effort pods, nor with a part of a CPU [L66]. Unlike in CRI-O the pod's handler need not be
 * named in the request. `cpu` is the plan that the spec gets.
 */
export function execCpuAffinity(
  input: Pick<ContainerSpecInput, 'sandbox' | 'handler'>,
  cpu: CpuPlan | undefined,
  warnings: string[],
): OciProcess['execCPUAffinity'] {
  const { handler, sandbox } = input;
  if (handler.execCpuAffinity !== 'first' || !isHighPerformance(input) || /burstable|besteffort/.test(sandbox.cgroupParent))
    return undefined;
  const shares = cpu?.shares ?? 0n;
  if (shares === 0n || shares % 1024n !== 0n) return undefined;
  const first = firstCpu(cpu?.cpus ?? '');
  if (first === undefined) {
    warnings.push('ExecCPUAffinityType first is set, but no CPUSet is available. Falling back to default.');
    return undefined;
  }
  return { initial: first };
}

function isHighPerformance({ handler, sandbox }: Pick<ContainerSpecInput, 'sandbox' | 'handler'>): boolean {
  return (
    handler.name.includes('high-performance') || [...sandbox.annotations.keys()].some((key) => KEYS.some((own) => key.startsWith(own)))
  );
}

/** The lowest number of a CPU list (`2-3,0`), which the kernel takes in any order. */
function firstCpu(list: string): string | undefined {
  const starts = list
    .split(',')
    .map((range) => /^\s*(\d+)\s*(?:-\s*\d+\s*)?$/.exec(range)?.[1])
    .filter((start) => start !== undefined);
  return starts.length === 0 ? undefined : String(Math.min(...starts.map(Number)));
}
