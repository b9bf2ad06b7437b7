import type { HexId } from '../../ids/index.ts';
import type { ContainerRecord, ImageRecord, LayerRecord } from '../types.ts';
import {
  digest,
  digests,
  type Fields,
  flags,
  idMappings,
  ids,
  int,
  int64,
  optionalId,
  requiredId,
  sizes,
  strings,
  text,
  time,
  uint32s,
} from './fields.ts';

/** A record of mountpoints.json (§1.8). */
export interface MountRecord {
  /** The layer's. */
  readonly id: HexId;
  readonly path: string;
  readonly count: number;
}

// The order of the rows is the order of Go's structs, hence of the keys in the files.

export const layerFormat: Fields<LayerRecord> = {
  id: requiredId('id'),
  names: strings('names'),
  parent: optionalId('parent'),
  metadata: text('metadata'),
  mountLabel: text('mountlabel'),
  created: time('created'),
  compressedDiffDigest: digest('compressed-diff-digest'),
  compressedSize: int64('compressed-size'),
  diffDigest: digest('diff-digest'),
  diffSize: int64('diff-size'),
  tocDigest: digest('toc-digest'),
  compression: int('compression'),
  uidset: uint32s('uidset'),
  gidset: uint32s('gidset'),
  flags: flags('flags'),
  uidmap: idMappings('uidmap'),
  gidmap: idMappings('gidmap'),
  bigDataNames: strings('big-data-names'),
};

export const imageFormat: Fields<ImageRecord> = {
  id: requiredId('id'),
  digest: digest('digest'),
  names: strings('names'),
  namesHistory: strings('names-history'),
  layer: optionalId('layer'),
  mappedLayers: ids('mapped-layers'),
  metadata: text('metadata'),
  bigDataNames: strings('big-data-names'),
  bigDataSizes: sizes('big-data-sizes'),
  bigDataDigests: digests('big-data-digests'),
  created: time('created'),
  flags: flags('flags'),
};

export const containerFormat: Fields<ContainerRecord> = {
  id: requiredId('id'),
  names: strings('names'),
  image: optionalId('image', false),
  layer: requiredId('layer'),
  metadata: text('metadata'),
  bigDataNames: strings('big-data-names'),
  bigDataSizes: sizes('big-data-sizes'),
  bigDataDigests: digests('big-data-digests'),
  created: time('created'),
  uidmap: idMappings('uidmap'),
  gidmap: idMappings('gidmap'),
  flags: flags('flags'),
};

export const mountFormat: Fields<MountRecord> = {
  id: requiredId('id'),
  path: text('path'),
  count: int('count'),
};
