export type { Exit } from './child.ts';
export { type Child, type LaunchOptions, type TerminalChild, launch, launchOnTerminal } from './launch.ts';
export { type NamespaceHolder, holdUserNamespace, writeSysctlsInside } from './user-namespace.ts';
export { type RunOptions, type RunResult, exitFailure, run, runOk } from './run.ts';
