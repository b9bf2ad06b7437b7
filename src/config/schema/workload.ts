import { type Rows, type ValuesOf, int, list, table, text, unsigned } from './row.ts';

/** `[crio.runtime.workloads.NAME]` without `resources` [B117–B119]. */
export const workloadTable = table(
  'crio.runtime.workloads',
  'A workload: a table by its name for pods that carry its annotation; it grants annotations and sets resources.',
  {
    activation_annotation: text('', 'Key of the pod annotation that chooses this workload. Required.'),
    annotation_prefix: text('', 'The pod annotation PREFIX/CONTAINER holds resources of that container as JSON.'),
    allowed_annotations: list([], 'Annotations that these pods may use beside those of their handler.', { omitEmpty: true }),
  } satisfies Rows,
);

/** `[crio.runtime.workloads.NAME.resources]` [B120]. */
export const resourcesTable = table('crio.runtime.workloads.NAME.resources', 'Resources of the containers of these pods.', {
  cpushares: unsigned(0, 'CPU shares.'),
  cpuquota: int(0, 'CPU time in microseconds per period.'),
  cpuperiod: unsigned(0, 'Length of the period in microseconds, at least 1000.'),
  cpuset: text('', 'CPUs, such as 0-1,3.'),
  cpulimit: int(0, 'Thousandths of a CPU; counts only when the annotation of the container is there.'),
} satisfies Rows);

export type WorkloadResources = ValuesOf<(typeof resourcesTable)['rows']>;
export type WorkloadConfig = ValuesOf<(typeof workloadTable)['rows']> & { readonly resources: WorkloadResources | undefined };
