export { LayerUnpacker } from './unpacker.ts';
export type { ArchiveCode, IdMap, UnpackLimits, UnpackOptions, UnpackedLayer } from './types.ts';
