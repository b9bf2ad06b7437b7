import { type Codec, type Parsed, listCodec } from './codec.ts';
import { type Row, type Rows, type ValuesOf, bool, int, list, table, text } from './row.ts';

/** All metrics by their short names, in the order in which CRI-O lists them [C13–C30]. */
const COLLECTORS = [
  'image_pulls_layer_size',
  'containers_events_dropped_total',
  'containers_oom_total',
  'processes_defunct',
  'operations_total',
  'operations_latency_seconds',
  'operations_latency_seconds_total',
  'operations_errors_total',
  'image_pulls_bytes_total',
  'image_pulls_skipped_bytes_total',
  'image_pulls_failure_total',
  'image_pulls_success_total',
  'image_layer_reuse_total',
  'containers_oom_count_total',
  'containers_seccomp_notifier_count_total',
  'resources_stalled_at_stage',
  'containers_stopped_monitor_count',
  'default_runtime',
];

/** Prefixes of the full names are stripped on reading [A99, C12]. */
const short = (name: string) => name.replace(/^container_runtime_/, '').replace(/^crio_/, '');
const shortened = (parsed: Parsed<readonly string[]>): Parsed<readonly string[]> =>
  parsed.ok ? { ok: true, value: parsed.value.map(short) } : parsed;

const collectorsCodec: Codec<readonly string[]> = {
  ...listCodec,
  fromToml: (value) => shortened(listCodec.fromToml(value)),
  fromFlag: (given) => shortened(listCodec.fromFlag(given)),
  fromEnvironment: (given) => {
    const parsed = listCodec.fromEnvironment(given);
    return parsed === undefined ? undefined : shortened(parsed);
  },
};

const metricsCollectors: Row<readonly string[]> = {
  ...list(COLLECTORS, 'Metrics that are collected; crio_ and container_runtime_ before a name are ignored.', {
    flag: 'metrics-collectors',
    env: 'CONTAINER_METRICS_COLLECTORS',
  }),
  codec: collectorsCodec,
};

/** `[crio.metrics]` [B148–B153]. */
export const metricsTable = table('crio.metrics', 'Metrics for Prometheus.', {
  enable_metrics: bool(false, 'Metrics are served.', { flag: 'enable-metrics', env: 'CONTAINER_ENABLE_METRICS' }),
  metrics_collectors: metricsCollectors,
  metrics_host: text('127.0.0.1', 'Address that the metrics server binds to.', { flag: 'metrics-host', env: 'CONTAINER_METRICS_HOST' }),
  metrics_port: int(9090, 'TCP port of the metrics server. 0: any free port.', { flag: 'metrics-port', env: 'CONTAINER_METRICS_PORT' }),
  metrics_socket: text('', 'A unix socket that serves metrics as well.', { flag: 'metrics-socket', env: 'CONTAINER_METRICS_SOCKET' }),
  metrics_cert: text('', 'Certificate of the metrics server, PEM.', { flag: 'metrics-cert', env: 'CONTAINER_METRICS_CERT' }),
  metrics_key: text('', 'Private key of the metrics server, PEM.', { flag: 'metrics-key', env: 'CONTAINER_METRICS_KEY' }),
} satisfies Rows);

export type MetricsConfig = ValuesOf<(typeof metricsTable)['rows']>;

/** `[crio.tracing]` [B154–B156]. */
export const tracingTable = table('crio.tracing', 'Traces by OpenTelemetry.', {
  enable_tracing: bool(false, 'Traces are sent.', { flag: 'enable-tracing', env: 'CONTAINER_ENABLE_TRACING' }),
  tracing_endpoint: text('127.0.0.1:4317', 'Address of the collector, gRPC.', {
    flag: 'tracing-endpoint',
    env: 'CONTAINER_TRACING_ENDPOINT',
  }),
  tracing_sampling_rate_per_million: int(0, 'Traces out of a million that are sent. 0: only those that a caller samples.', {
    flag: 'tracing-sampling-rate-per-million',
    env: 'CONTAINER_TRACING_SAMPLING_RATE_PER_MILLION',
  }),
} satisfies Rows);

export type TracingConfig = ValuesOf<(typeof tracingTable)['rows']>;

/** `[crio.stats]` [B157–B159]. */
export const statsTable = table('crio.stats', 'Figures about pods and containers for the kubelet.', {
  stats_collection_period: int(0, 'Without effect.', {
    flag: 'stats-collection-period',
    env: 'CONTAINER_STATS_COLLECTION_PERIOD',
    deprecated: 'Use collection_period.',
  }),
  collection_period: int(0, 'Seconds between two collections of figures. 0: when they are asked for.', {
    flag: 'collection-period',
    env: 'COLLECTION_PERIOD',
  }),
  included_pod_metrics: list(
    [],
    'Groups of pod metrics: cpu, disk, diskIO, hugetlb, memory, network, oom, process, spec, pressure, or all.',
    {
      flag: 'included-pod-metrics',
      env: ['CONTAINER_INCLUDED_POD_METRCIS', 'CONTAINER_INCLUDED_POD_METRICS'],
    },
  ),
} satisfies Rows);

export type StatsConfig = ValuesOf<(typeof statsTable)['rows']>;
