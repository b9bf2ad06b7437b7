export { type CleanName, cleanName, toPath, toText } from './names.ts';
export { TYPE } from './tar-header.ts';
export { type TarEntry, TarReader } from './tar-reader.ts';
export { readTarSplitFile } from './tar-split-reader.ts';
export { LayerUnpacker } from './unpacker.ts';
export type {
  ArchiveCode,
  BlobParts,
  ByteRange,
  IdMap,
  LayerContents,
  LayerDecryption,
  Survey,
  UnpackLimits,
  UnpackOptions,
  UnpackedLayer,
} from './types.ts';
