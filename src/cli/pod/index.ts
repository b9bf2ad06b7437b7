export { attend, printLog } from './attend.ts';
export { DEFAULT_STATE_DIR, removePodFiles, stateDirOption } from './files.ts';
export { type RunningContainer, type RunningPod, launchPod, removePod } from './launch.ts';
export { DEFAULT_GRACE_SECONDS, stopTarget } from './stop.ts';
