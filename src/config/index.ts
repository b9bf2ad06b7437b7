export { type Config, type NodeDefaults, type RuntimeConfig, defaultConfig } from './config.ts';
export { type Environment, type GivenFlag, type GlobalFlags, parseGlobalFlags } from './flags.ts';
export { type FlagHelp, flagHelp, listFlags } from './help.ts';
export type { FileSource } from './files.ts';
export { type LoadOptions, type LoadedConfig, type UnhonouredKey, loadConfig } from './load.ts';
export { type LogSettings, logSettings } from './log-settings.ts';
export { type RenderOptions, renderConfig, serializeConfig } from './render.ts';
export { parseDuration, parseSize } from './schema/index.ts';
export { nearest } from './nearest.ts';
export { type Message, type ValidateOptions, type ValidatedConfig, validateConfig } from './validate/index.ts';
export { type Ulimit, parseSysctls, parseUlimits } from './validate/index.ts';
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
