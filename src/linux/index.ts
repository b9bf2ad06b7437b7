export { MS, type MountInfo, mount, parseMountInfo, readMounts, readMountsSync, unmountIfMounted, unmountLazily } from './mount.ts';
export { type ProcessStat, isAlive, processStat, signalProcess } from './processes.ts';
