export type { PodContext, PodEvent, PodSettings } from './context.ts';
export { createContainer } from './create-container.ts';
export { pinDirectory } from './namespaces.ts';
export { SandboxRegistry } from './registry.ts';
export { removeSandbox } from './remove.ts';
export { type RestoreReport, restoreAll } from './restore.ts';
export { runSandbox } from './run.ts';
export { Sandbox, type SandboxFacts } from './sandbox.ts';
export { stopSandbox } from './stop.ts';
