export {
  MS,
  type MountInfo,
  mount,
  parseMountInfo,
  readMounts,
  readMountsSync,
  unmountAll,
  unmountIfMounted,
  unmountLazily,
} from './mount.ts';
export { type ProcessStat, isAlive, membersOf, processStat, signalProcess } from './processes.ts';
export {
  NAMESPACE_KINDS,
  type NamespaceKind,
  NamespaceMaker,
  type NamespaceRequest,
  PIN_KINDS,
  type PinKind,
  type UserNamespaceRequest,
} from './namespaces.ts';
export { OwnedFd, closeFd } from './fd.ts';
export {
  AT,
  E,
  type FileStat,
  type FileTime,
  O,
  type Path,
  RESOLVE,
  S,
  chmodFd,
  chmodPathFd,
  chownAt,
  cloneFile,
  linkAt,
  linkFd,
  makeDevice,
  mkdirAt,
  mknodAt,
  openAt,
  openAt2,
  orThrow,
  readLinkAt,
  renameAt,
  setTimesAt,
  setTimesFd,
  showPath,
  statAt,
  statOrThrow,
  symlinkAt,
  unlinkAt,
} from './files.ts';
export { elfMachine } from './elf.ts';
export { type ProjectLimits, checkProjects, limitProject, projectOf, setProject, stopInheritingProject } from './projects.ts';
export { getXattr, getXattrFd, listXattr, listXattrFd, removeXattr, setXattr, setXattrAt, setXattrFd } from './xattr.ts';
export {
  type Owner,
  type WriteInRoot,
  mkdirAllInRoot,
  openInRoot,
  openRoot,
  readFileInRoot,
  readHeadInRoot,
  tryOpenInRoot,
  writeFileInRoot,
} from './inroot.ts';
export { BlockingCalls } from './blocking.ts';
export { type LockMode, tryLockFile, unlockFile } from './locks.ts';
export { sysctlFailure, sysctlPath } from './sysctl.ts';
export { isNamespaceFile } from './nsfs.ts';
export { sendUnixDatagram } from './datagram.ts';
export { bindIdMapped, idMapLack, mountByParameters, recursiveAttributesLack } from './fs-context.ts';
export { deleteUdpConntrack } from './conntrack.ts';
export { removeTreeAt } from './remove.ts';
export { type ChildExit, type SpawnOptions, type SpawnedChild, spawnChild, spawnOnTerminal, tryWait } from './spawn.ts';
export { type Pty, type TerminalSize, openPty, setTerminalSize } from './pty.ts';
export { streamOf } from './stream.ts';
export { releaseFreedMemory } from './memory.ts';
export { sealedCopy } from './memfd.ts';
export { connectSeqpacket } from './seqpacket.ts';
export { bytesWaiting } from './fifo.ts';
export { type FoundProcess, findProcesses } from './find-processes.ts';
export { killTree } from './kill-tree.ts';
export { Readiness } from './readiness.ts';
export { ProcessWatcher, type WaitStatus, type WatchedProcess } from './process-watcher.ts';
export { DirectoryWatch } from './directory-watch.ts';
