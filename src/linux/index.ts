export { MS, type MountInfo, mount, parseMountInfo, readMounts, readMountsSync, unmountIfMounted, unmountLazily } from './mount.ts';
export { type ProcessStat, isAlive, processStat, signalProcess } from './processes.ts';
export { NAMESPACE_KINDS, type NamespaceKind, NamespaceMaker, type NamespaceRequest } from './namespaces.ts';
