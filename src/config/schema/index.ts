/** The schema: all tables of crio.conf in the order in which the template prints them [A182]. */
import { apiTable } from './api.ts';
import { crioTable } from './crio.ts';
import { checkpointRestoreTable, imageTable } from './image.ts';
import { networkTable } from './network.ts';
import { nriTable, nriValidatorTable } from './nri.ts';
import { metricsTable, statsTable, tracingTable } from './observe.ts';
import type { Row, Rows, Table } from './row.ts';
import { runtimeTable } from './runtime.ts';

export const TABLES: readonly Table<Rows>[] = [
  crioTable,
  apiTable,
  runtimeTable,
  checkpointRestoreTable,
  imageTable,
  networkTable,
  metricsTable,
  tracingTable,
  nriTable,
  nriValidatorTable,
  statsTable,
];

/** A row with the dotted name of its key, `crio.api.listen`. */
export interface KeyedRow {
  readonly key: string;
  readonly row: Row<unknown>;
}

export function rowsOf(table: Table<Rows>): readonly KeyedRow[] {
  return Object.entries(table.rows).map(([name, row]) => ({ key: table.path === '' ? name : `${table.path}.${name}`, row }));
}

/** All keys of the plain tables, without those of named ones. */
export const ROWS: readonly KeyedRow[] = TABLES.flatMap(rowsOf);

export { apiTable, checkpointRestoreTable, crioTable, imageTable, metricsTable, networkTable, nriTable, nriValidatorTable };
export { runtimeTable, statsTable, tracingTable };
export { builtInHandler, DEFAULT_RUNTIME, handlerTable, type RuntimeHandlerConfig } from './handler.ts';
export { type CommandLine, commandLineTable } from './commandline.ts';
export { resourcesTable, type WorkloadConfig, type WorkloadResources, workloadTable } from './workload.ts';
export { camelCase, type Row, type Rows, type Table, type ValuesOf } from './row.ts';
export type { ApiConfig } from './api.ts';
export type { CrioConfig } from './crio.ts';
export type { CheckpointRestoreConfig, ImageConfig } from './image.ts';
export type { NetworkConfig } from './network.ts';
export type { NriConfig } from './nri.ts';
export type { MetricsConfig, StatsConfig, TracingConfig } from './observe.ts';
export type { RuntimeSettings } from './runtime.ts';
export { DEFAULT_MESSAGE_SIZE } from './api.ts';
export { isTable, quoted, tomlTypeOf } from './codec.ts';
export { formatDuration } from './duration.ts';
export { parseDuration } from './duration.ts';
export { parseSize } from './size.ts';
