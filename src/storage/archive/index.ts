export { type CleanName, cleanName, toPath, toText } from './names.ts';
export { TYPE } from './tar-header.ts';
export { type TarEntry, TarReader } from './tar-reader.ts';
export { LayerUnpacker } from './unpacker.ts';
export type { ArchiveCode, IdMap, LayerDecryption, UnpackLimits, UnpackOptions, UnpackedLayer } from './types.ts';
