export { type Child, type Exit, type LaunchOptions, launch } from './launch.ts';
export { type RunOptions, type RunResult, exitFailure, run, runOk } from './run.ts';
