import type { WorkloadConfig, WorkloadResources } from '../schema/index.ts';
import { checkAllowedAnnotations } from './annotations.ts';
import { invalid } from './check.ts';
import { cpusetProblem } from './limits.ts';

const LEAST_PERIOD = 1000;

/** [B117, B121] */
export function checkWorkloads(workloads: ReadonlyMap<string, WorkloadConfig>): void {
  for (const [name, workload] of workloads) {
    if (workload.activationAnnotation === '') {
      throw invalid(
        `annotation shouldn't be empty for workload "${name}"`,
        `Set activation_annotation in [crio.runtime.workloads.${name}].`,
      );
    }
    checkAllowedAnnotations(workload.allowedAnnotations);
    if (workload.resources !== undefined) checkResources(name, workload.resources);
  }
}

function checkResources(name: string, resources: WorkloadResources): void {
  const advice = `Correct [crio.runtime.workloads.${name}.resources].`;
  const cpus = cpusetProblem(resources.cpuset);
  if (cpus !== undefined) throw invalid(`unable to parse cpuset "${resources.cpuset}": ${cpus}`, advice);
  const { cpuquota, cpushares, cpuperiod } = resources;
  if (cpuquota !== 0 && cpuquota < cpushares) throw invalid(`cpuquota ${cpuquota} cannot be less than cpushares ${cpushares}`, advice);
  if (cpuperiod !== 0 && cpuperiod < LEAST_PERIOD) throw invalid(`cpuperiod ${cpuperiod} cannot be less than 1000 microseconds`, advice);
}
