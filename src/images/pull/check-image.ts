import { Failure } from '../../errors/index.ts';
import type { OciImageConfig } from '../image.ts';
import { plainType } from '../decryption/index.ts';
import type { ImageManifest } from '../manifest.ts';
import { MAX_LAYERS } from '../schema1.ts';

const LAYER_TYPES: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.layer.v1.tar',
  'application/vnd.oci.image.layer.v1.tar+gzip',
  'application/vnd.oci.image.layer.v1.tar+zstd',
  'application/vnd.docker.image.rootfs.diff.tar',
  'application/vnd.docker.image.rootfs.diff.tar.gzip',
  'application/vnd.docker.image.rootfs.diff.tar.zstd',
  // Layers that not every registry may have; this one does, or the pull says so.
  'application/vnd.oci.image.layer.nondistributable.v1.tar',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
  'application/vnd.docker.image.rootfs.foreign.diff.tar',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
]);

/** Whether a registry may lack a layer of this type: `urls` in its descriptor then say who has it. We never ask there [a44]. */
export function isForeign(mediaType: string): boolean {
  return /^application\/vnd\.(docker\.image\.rootfs\.foreign\.|oci\.image\.layer\.nondistributable\.)/.test(mediaType);
}

/**
 * Whether manifest and config are of one image that we can unpack: no more layers than can be mounted [a41], a diff ID for each, and layers of known
 * types only, encrypted or not; anything else is refused by name. Fails with Unknown or Unimplemented.
 */
export function checkImage(manifest: ImageManifest, config: OciImageConfig): void {
  if (manifest.layers.length > MAX_LAYERS)
    throw new Failure('Unknown', `the image has ${manifest.layers.length} layers, more than ${MAX_LAYERS}: max depth exceeded`, {
      code: 'INVALID_DOCUMENT',
      advice: 'Build it anew with fewer layers.',
    });
  if (config.diffIds.length !== manifest.layers.length)
    throw new Failure('Unknown', `image config names ${config.diffIds.length} layers, its manifest ${manifest.layers.length}`, {
      code: 'INVALID_DOCUMENT',
    });
  for (const [index, layer] of manifest.layers.entries()) {
    if (LAYER_TYPES.has(plainType(layer.mediaType))) continue;
    const type = JSON.stringify(layer.mediaType.slice(0, 256));
    throw new Failure('Unimplemented', `layer ${index} (${layer.digest}) has the unknown media type ${type}: not supported`, {
      code: 'UNSUPPORTED',
    });
  }
}
