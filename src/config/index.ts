export { type Config, type NodeDefaults, type RuntimeConfig, defaultConfig, defaultHandler } from './config.ts';
export { type Environment, type GivenFlag, type GlobalFlags, parseGlobalFlags } from './flags.ts';
export { type FlagHelp, flagHelp, listFlags } from './help.ts';
export { type FileSource, diskFiles } from './files.ts';
export { type LoadOptions, type LoadedConfig, type UnhonouredKey, loadConfig } from './load.ts';
export { type RenderOptions, renderConfig, serializeConfig } from './render.ts';
export { formatDuration, parseDuration } from './schema/duration.ts';
export { parseSize } from './schema/size.ts';
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
