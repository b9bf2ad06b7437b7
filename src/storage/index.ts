export { type TarEntry, TarReader } from './archive/index.ts';
export {
  LayerUnpacker,
  type ArchiveCode,
  type BlobParts,
  type ByteRange,
  type IdMap,
  type LayerDecryption,
  type Survey,
  type UnpackLimits,
  type UnpackOptions,
  type UnpackedLayer,
} from './archive/index.ts';
export { type ArtifactStore, type StoredArtifact } from './artifacts/artifact-store.ts';
export { type CheckOptions, type Finding, countOf, describe } from './check/findings.ts';
export { removeStorage } from './check/remove-storage.ts';
export { mayReuse } from './decrypted-layers.ts';
export { type DiskUse, type ImageUse, diskUse } from './disk-use.ts';
export { SHARES, type Share } from './on-disk.ts';
export { type DriverSettings, parseStorageOptions } from './options.ts';
export { FOREIGN_IMAGE } from './images.ts';
export type { StoreOptions } from './parts.ts';
export { Store } from './store.ts';
export type {
  AutoIdMap,
  BigDataItem,
  ContainerRecord,
  IdMapping,
  ImageRecord,
  Json,
  LayerRecord,
  LayerToCommit,
  MountRequest,
  NewContainer,
  NewImage,
  StagedLayer,
} from './types.ts';
