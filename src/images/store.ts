import type { LayerUnpacker, Store } from '../storage/index.ts';

/** What this room needs of the store. */
export type ImageStore = Pick<
  Store,
  | 'graphRoot'
  | 'artifacts'
  | 'imageRoot'
  | 'images'
  | 'imageBigData'
  | 'createImage'
  | 'setImageNames'
  | 'deleteImage'
  | 'layer'
  | 'layerChain'
  | 'layerId'
  | 'diffIdOf'
  | 'layerContents'
  | 'stageLayer'
>;

export type Unpacker = Pick<LayerUnpacker, 'unpack'>;
