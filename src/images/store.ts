import type { Digest, HexId } from '../ids/index.ts';
import type { ImageRecord, LayerRecord, NewImage, StagedLayer } from '../storage/index.ts';

/** What this room needs of the store. */
export interface ImageStore {
  readonly driverHome: string;
  readonly graphRoot: string;
  images(): Promise<readonly ImageRecord[]>;
  imageBigData(id: HexId, key: string): Promise<Buffer>;
  createImage(image: NewImage): Promise<ImageRecord>;
  setImageNames(id: HexId, names: readonly string[]): Promise<void>;
  deleteImage(id: HexId): Promise<void>;
  layer(id: HexId): Promise<LayerRecord | undefined>;
  layerId(parent: HexId | undefined, diffId: Digest): HexId;
  stageLayer(parent?: HexId): Promise<StagedLayer>;
}

/** What this room needs of the archive's LayerUnpacker. */
export interface Unpacker {
  unpack(
    blob: AsyncIterable<Uint8Array>,
    options: {
      readonly diffDir: string;
      readonly tarSplitPath: string;
      readonly blobDigest: Digest;
      readonly diffId: Digest | undefined;
      readonly signal?: AbortSignal;
      readonly onProgress?: (bytesOfBlob: number) => void;
    },
  ): Promise<{
    readonly blobDigest: Digest;
    readonly blobSize: number;
    readonly diffId: Digest;
    readonly diffSize: number;
    readonly compression: 0 | 1 | 2 | 3 | 4;
    readonly uids: readonly number[];
    readonly gids: readonly number[];
  }>;
}
