export { parseFeatures, probeFeatures } from './features.ts';
export { RuntimeTable } from './table.ts';
export { NO_FEATURES, type RuntimeFeatures, type RuntimeHandler } from './handler.ts';
export { OciRuntime, runtimeEnvironment } from './runtime.ts';
