export { probeFeatures } from './features.ts';
export { RuntimePrograms } from './programs.ts';
export { RuntimeTable } from './table.ts';
export type { RuntimeFeatures, RuntimeHandler } from './handler.ts';
export { type ExecFiles, OciRuntime, runtimeEnvironment } from './runtime.ts';
export type { RuntimeView } from './own-state.ts';
