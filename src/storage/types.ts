import type { Digest, HexId } from '../ids/index.ts';
import type { IdMap, UnpackedLayer } from './archive/index.ts';

/** One range of an id map: `size` ids from `containerId` inside are those from `hostId` outside. */
export interface IdMapping {
  readonly containerId: number;
  readonly hostId: number;
  readonly size: number;
}

/** A record of layers.json or volatile-layers.json (docs/reference/cri-o-ondisk.md §1.2). Frozen; a change makes a new one. */
export interface LayerRecord {
  readonly id: HexId;
  readonly names: readonly string[];
  readonly parent: HexId | undefined;
  readonly metadata: string;
  readonly mountLabel: string;
  /** RFC 3339 with nanoseconds, as in the file. */
  readonly created: string;
  readonly compressedDiffDigest: Digest | undefined;
  /** Bytes of the blob as received; 0 = not recorded. */
  readonly compressedSize: bigint;
  readonly diffDigest: Digest | undefined;
  /** Bytes of the uncompressed tar; −1 = unknown. */
  readonly diffSize: bigint;
  readonly tocDigest: Digest | undefined;
  /** 0 none, 1 bzip2, 2 gzip, 3 xz, 4 zstd. */
  readonly compression: number;
  readonly uidset: readonly number[];
  readonly gidset: readonly number[];
  readonly flags: ReadonlyMap<string, Json>;
  readonly uidmap: readonly IdMapping[];
  readonly gidmap: readonly IdMapping[];
  readonly bigDataNames: readonly string[];
}

/** A record of images.json (§1.3). */
export interface ImageRecord {
  readonly id: HexId;
  /** The first manifest digest recorded. */
  readonly digest: Digest | undefined;
  /** Fully qualified, newest first; unique over all images. */
  readonly names: readonly string[];
  readonly namesHistory: readonly string[];
  /** The top layer; undefined for an image without layers. */
  readonly layer: HexId | undefined;
  readonly mappedLayers: readonly HexId[];
  readonly metadata: string;
  readonly bigDataNames: readonly string[];
  readonly bigDataSizes: ReadonlyMap<string, bigint>;
  readonly bigDataDigests: ReadonlyMap<string, Digest>;
  readonly created: string;
  readonly flags: ReadonlyMap<string, Json>;
}

/** A record of volatile-containers.json or containers.json (§1.4). */
export interface ContainerRecord {
  readonly id: HexId;
  readonly names: readonly string[];
  readonly image: HexId | undefined;
  readonly layer: HexId;
  readonly metadata: string;
  readonly bigDataNames: readonly string[];
  readonly bigDataSizes: ReadonlyMap<string, bigint>;
  readonly bigDataDigests: ReadonlyMap<string, Digest>;
  readonly created: string;
  readonly uidmap: readonly IdMapping[];
  readonly gidmap: readonly IdMapping[];
  /** CRI-O's: `MountLabel`, `ProcessLabel`, `Volatile`. */
  readonly flags: ReadonlyMap<string, Json>;
}

/** Free-form JSON of a record; an integer beyond 2⁵³ is a bigint. */
export type Json = null | boolean | number | bigint | string | readonly Json[] | { readonly [key: string]: Json };

export interface LayerToCommit extends UnpackedLayer {
  readonly id: HexId;
  readonly parent: HexId | undefined;
  /** Of a layer that was encrypted: what only a holder of its key can tell [a47]. */
  readonly proof?: string;
}

/** A layer whose contents are being written and that nobody sees yet (§4.5). Ends by `commit` or `discard`, once. */
export interface StagedLayer {
  /** The directory to unpack into; exists, on the file system of the graph root. */
  readonly diffDir: string;
  /** Where the gzipped tar-split goes; does not exist yet, its directory does. Leaving it out is allowed (§4.6). */
  readonly tarSplitPath: string;
  /**
   * Publishes the layer in one short step. The parent must be committed by now (else a NotFound failure).
   * A layer with that id that exists already counts as success; the staged contents are thrown away then.
   */
  commit(layer: LayerToCommit): Promise<LayerRecord>;
  /** Removes what was staged; after `commit` it does nothing. */
  discard(): Promise<void>;
}

export interface BigDataItem {
  readonly key: string;
  readonly data: Uint8Array;
  /** Default: sha256 of the bytes. */
  readonly digest?: Digest;
}

export interface NewImage {
  readonly id: HexId;
  /** Fully qualified; taken away from any image that holds one of them. */
  readonly names: readonly string[];
  /** Top layer; must be committed. */
  readonly layer?: HexId | undefined;
  /** Digest of the manifest. */
  readonly digest: Digest;
  /** The config's `created`; anything that is no RFC 3339 time becomes now. */
  readonly created: Date | string;
  /** JSON text, `{}` usually (§1.3). */
  readonly metadata: string;
  /** In the order of §1.3. */
  readonly bigData: readonly BigDataItem[];
}

/** Maps that the store chooses, from ids that no other container of the store has [G87]. */
export interface AutoIdMap {
  /** Ids inside, counted from 0, those of `additional` among them. */
  readonly size: number;
  /** Mapped as they are. */
  readonly additional: IdMap;
}

export interface NewContainer {
  /** Default: a new random id. */
  readonly id?: HexId | undefined;
  /** Unique among all containers of the store. */
  readonly names: readonly string[];
  readonly imageId: HexId;
  /** JSON text of §1.4. */
  readonly metadata: string;
  /** `<container name>-layer` [J14]; unique among all layers. */
  readonly layerName: string;
  readonly mountLabel?: string | undefined;
  readonly processLabel?: string | undefined;
  /** The answered record has the maps that were chosen. */
  readonly idMap?: IdMap | { readonly auto: AutoIdMap } | undefined;
}

export interface MountRequest {
  /** SELinux label of the mount; default: the layer's own. */
  readonly label?: string | undefined;
  /** Path of a user namespace with the container's id map; needed when the container has one (§3.4). */
  readonly userNamespace?: string | undefined;
}
