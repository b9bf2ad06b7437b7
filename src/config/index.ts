export { type Config, type NodeDefaults, type RuntimeConfig, defaultConfig, defaultHandler } from './config.ts';
export type {
  ApiConfig,
  CheckpointRestoreConfig,
  CommandLine,
  CrioConfig,
  ImageConfig,
  MetricsConfig,
  NetworkConfig,
  NriConfig,
  RuntimeHandlerConfig,
  StatsConfig,
  TracingConfig,
  WorkloadConfig,
  WorkloadResources,
} from './schema/index.ts';
