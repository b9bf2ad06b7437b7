export { changeOwner, makeAccessible } from './accessible.ts';
export { prepareEtc, prepareWorkingDirectory } from './etc.ts';
export {
  type ImageVolumesMode,
  type ImageVolumesRequest,
  imageMount,
  mappedImageMount,
  mountImageSubPath,
  prepareEmptyDirectory,
  prepareImageVolumes,
} from './image-volumes.ts';
export { explainIdMaps } from './id-mapped.ts';
export { type MountRequest, type ResolvedImageMount, resolveMounts } from './mounts.ts';
export { resolvConf, writeContainerEnv, writeHostname, writeResolvConf } from './pod-files.ts';
export { machineOfProgram } from './program.ts';
export { type SubscriptionsRequest, parseMountsConf, prepareSubscriptions } from './subscriptions.ts';
export { type TimezoneRequest, prepareTimezone } from './timezone.ts';
export { type UserFilesRequest, writeUserFiles } from './user-files.ts';
export { type Accounts, type GroupEntry, type PasswdEntry, lookupUser, readAccounts, userString } from './users.ts';
