/**
 * The typed configuration. It is assembled from a flat map, `crio.api.listen` → value, in which files, flags and
 * environment are laid over each other (load.ts), and from the two named tables.
 */
import {
  type ApiConfig,
  type CheckpointRestoreConfig,
  type CrioConfig,
  DEFAULT_RUNTIME,
  type ImageConfig,
  type MetricsConfig,
  type NetworkConfig,
  type NriConfig,
  ROWS,
  type Rows,
  type RuntimeHandlerConfig,
  type RuntimeSettings,
  type StatsConfig,
  type Table,
  type TracingConfig,
  type ValuesOf,
  type WorkloadConfig,
  apiTable,
  builtInHandler,
  camelCase,
  checkpointRestoreTable,
  crioTable,
  handlerTable,
  imageTable,
  metricsTable,
  networkTable,
  nriTable,
  nriValidatorTable,
  runtimeTable,
  statsTable,
  tracingTable,
} from './schema/index.ts';

export type RuntimeConfig = RuntimeSettings & {
  readonly runtimes: ReadonlyMap<string, RuntimeHandlerConfig>;
  readonly workloads: ReadonlyMap<string, WorkloadConfig>;
};

/** Fields are the camelCase names of the keys of crio.conf; durations are milliseconds. */
export interface Config {
  readonly crio: CrioConfig;
  readonly api: ApiConfig;
  readonly runtime: RuntimeConfig;
  readonly checkpointRestore: CheckpointRestoreConfig;
  readonly image: ImageConfig;
  readonly network: NetworkConfig;
  readonly metrics: MetricsConfig;
  readonly tracing: TracingConfig;
  readonly stats: StatsConfig;
  readonly nri: NriConfig;
  /** No keys of crio.conf. */
  readonly pullOptions: PullOptions;
}

/** What we know of `pull_options` in storage.conf [J39]. */
export interface PullOptions {
  readonly partialImages: boolean;
  readonly hardLinks: boolean;
}

/** A configuration while it is put together. */
export interface Draft {
  readonly values: Map<string, unknown>;
  readonly runtimes: Map<string, RuntimeHandlerConfig>;
  readonly workloads: Map<string, WorkloadConfig>;
  readonly pullOptions: PullOptions;
}

/** What the defaults take from the machine: storage.conf [B11] and whether the kernel has SELinux on [A145]. */
export interface NodeDefaults {
  readonly storage?: Partial<Pick<CrioConfig, 'root' | 'runroot' | 'imagestore' | 'storageDriver' | 'storageOption'>>;
  readonly pullOptions?: PullOptions;
  readonly selinux?: boolean;
}

export function defaultDraft(node: NodeDefaults = {}): Draft {
  const values = new Map(ROWS.map(({ key, row }): [string, unknown] => [key, row.initial]));
  const given = { ...node.storage };
  if (given.root !== undefined) values.set('crio.root', given.root);
  if (given.runroot !== undefined) values.set('crio.runroot', given.runroot);
  if (given.imagestore !== undefined) values.set('crio.imagestore', given.imagestore);
  if (given.storageDriver !== undefined) values.set('crio.storage_driver', given.storageDriver);
  if (given.storageOption !== undefined) values.set('crio.storage_option', given.storageOption);
  if (node.selinux !== undefined) values.set('crio.runtime.selinux', node.selinux);
  const { pullOptions = { partialImages: false, hardLinks: false } } = node;
  return { values, runtimes: new Map([[DEFAULT_RUNTIME, defaultHandler()]]), workloads: new Map(), pullOptions };
}

/** What holds without any file, flag or variable. */
export function defaultConfig(node: NodeDefaults = {}): Config {
  return configOf(defaultDraft(node));
}

/** The handler `crun` as it is built in [B91]. */
export function defaultHandler(): RuntimeHandlerConfig {
  return handlerOf(new Map(Object.entries(builtInHandler)));
}

/** A handler of a table in a file: what the table does not say is zero [B6]. */
export function handlerOf(values: ReadonlyMap<string, unknown>): RuntimeHandlerConfig {
  return fieldsOf(handlerTable, (name) => values.get(name) ?? handlerTable.rows[name].initial);
}

export function configOf(draft: Draft): Config {
  const at = <R extends Rows>(table: Table<R>) => fieldsOf(table, (name) => draft.values.get(`${table.path}.${name}`));
  return {
    crio: at(crioTable),
    api: at(apiTable),
    runtime: { ...at(runtimeTable), runtimes: draft.runtimes, workloads: draft.workloads },
    checkpointRestore: at(checkpointRestoreTable),
    image: at(imageTable),
    network: at(networkTable),
    metrics: at(metricsTable),
    tracing: at(tracingTable),
    stats: at(statsTable),
    nri: { ...at(nriTable), defaultValidator: at(nriValidatorTable) },
    pullOptions: draft.pullOptions,
  };
}

/** The one place where values get their types: each was made by the codec of its row or is the row's own default. */
export function fieldsOf<R extends Rows>(table: Table<R>, valueOf: (name: keyof R & string) => unknown): ValuesOf<R> {
  const names: (keyof R & string)[] = Object.keys(table.rows);
  return Object.fromEntries(names.map((name) => [camelCase(name), valueOf(name)])) as ValuesOf<R>;
}
