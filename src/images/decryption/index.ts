export { type DecryptionKeys, readDecryptionKeys } from './keys.ts';
export { type LayerKey, plainType, unwrapLayerKeys } from './unwrap.ts';
