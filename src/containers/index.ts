export { Container, type ContainerFacts, type PodOfContainer } from './container.ts';
export type { ContainerContext, ContainerEvent } from './context.ts';
export { Creations, type Progress } from './creations.ts';
export { type ExecResult, execSync } from './exec-sync.ts';
export { ExitWatcher } from './exit-watcher.ts';
export { IdIndex } from './index-by-id.ts';
export { initIsAlive } from './liveness.ts';
export { infraName, podName } from './names.ts';
export { ContainerRegistry } from './registry.ts';
export { type Intent, Journal } from './journal.ts';
export { removeContainer, removeMonitorFiles } from './remove.ts';
export {
  annotation,
  createdAnnotation,
  foreignManager,
  jsonAnnotation,
  readSavedSpec,
  restoreContainer,
  restoreInfraContainer,
  stringMapAnnotation,
} from './restore.ts';
export { startContainer } from './start.ts';
export { type ContainerState, startedAt } from './state.ts';
export { stopContainer } from './stop.ts';
export type { Creation, CreationContext, CreationSettings, PodForCreation } from './create/context.ts';
export { createIn } from './create/create.ts';
