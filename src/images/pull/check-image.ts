import { Failure } from '../../errors/index.ts';
import type { OciImageConfig } from '../image.ts';
import { plainType } from '../decryption/index.ts';
import type { ImageManifest } from '../manifest.ts';

const LAYER_TYPES: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.layer.v1.tar',
  'application/vnd.oci.image.layer.v1.tar+gzip',
  'application/vnd.oci.image.layer.v1.tar+zstd',
  'application/vnd.docker.image.rootfs.diff.tar',
  'application/vnd.docker.image.rootfs.diff.tar.gzip',
  'application/vnd.docker.image.rootfs.diff.tar.zstd',
]);

/** Layers that a registry does not have itself: fetched from `urls` in their descriptor, by whoever is allowed to. */
const FOREIGN = /^application\/vnd\.(docker\.image\.rootfs\.foreign\.|oci\.image\.layer\.nondistributable\.)/;

/**
 * Whether manifest and config are of one image that we can unpack: a diff ID for each layer, and layers of known
 * types only, encrypted or not; anything else is refused by name. Fails with Unknown or Unimplemented.
 */
export function checkImage(manifest: ImageManifest, config: OciImageConfig): void {
  if (config.diffIds.length !== manifest.layers.length)
    throw new Failure('Unknown', `image config names ${config.diffIds.length} layers, its manifest ${manifest.layers.length}`, {
      code: 'INVALID_DOCUMENT',
    });
  for (const [index, layer] of manifest.layers.entries()) {
    if (FOREIGN.test(layer.mediaType))
      throw refused(`layer ${index} (${layer.digest}) is a foreign layer (${layer.mediaType}), kept outside of the registry`);
    if (!LAYER_TYPES.has(plainType(layer.mediaType)))
      throw refused(`layer ${index} (${layer.digest}) has the unknown media type ${JSON.stringify(layer.mediaType.slice(0, 256))}`);
  }
}

function refused(what: string): Failure {
  return new Failure('Unimplemented', `${what}: not supported`, { code: 'UNSUPPORTED' });
}
