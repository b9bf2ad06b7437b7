export {
  type CgroupManagerName,
  containerCgroupsPath,
  containerDirectory,
  droppedInfraDirectory,
  expandSlice,
  parseCgroupParent,
  sandboxCgroupsPath,
} from './paths.ts';
export { makeInfraCgroup, removeInfraCgroup } from './infra.ts';
export { checkParentMemory } from './parent-memory.ts';
export { memoryUsage } from './usage.ts';
export { thaw } from './freezer.ts';
export { monitorCgroup, placeMonitor, removeMonitorCgroup } from './monitor.ts';
