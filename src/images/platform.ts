import { Failure } from '../errors/index.ts';
import { type ImageIndex, type IndexEntry, MEDIA_TYPES } from './manifest.ts';

/** Go's names: `linux`, `amd64`, `arm64`, …; the variant is '' where there is none. */
export interface Platform {
  readonly architecture: string;
  readonly os: string;
  readonly variant: string;
}

const ZSTD_ANNOTATION = 'io.github.containers.compression.zstd';

/** What images this machine runs: its own architecture only [I44]. `architecture` is Go's name. */
export function hostPlatform(architecture: string): Platform {
  return { architecture, os: 'linux', variant: architecture === 'arm64' ? 'v8' : '' };
}

/**
 * The entry of an index for this machine: the first of its platform, zstd instances before others in an OCI
 * index, entries without a platform last [I44]. Fails with NotFound; `name` is the image as the error shows it.
 */
export function chooseInstance(index: ImageIndex, wanted: Platform, name: string): IndexEntry {
  const rank = (entry: IndexEntry) => {
    const place = entry.platform === undefined ? 2 : 0;
    const isZstd = index.mediaType === MEDIA_TYPES.ociIndex && entry.annotations.get(ZSTD_ANNOTATION) === 'true';
    return place + (isZstd ? 0 : 1);
  };
  const suits = index.entries.filter((entry) => entry.platform === undefined || isSame(entry.platform, wanted));
  const best = suits.reduce<IndexEntry | undefined>(
    (chosen, entry) => (chosen === undefined || rank(entry) < rank(chosen) ? entry : chosen),
    undefined,
  );
  if (best !== undefined) return best;
  const list = index.mediaType === MEDIA_TYPES.ociIndex ? 'image index' : 'manifest list';
  const platform = `architecture "${wanted.architecture}", variant "${wanted.variant}", OS "${wanted.os}"`;
  const offered = index.entries.map((entry) => (entry.platform === undefined ? '?' : spelled(entry.platform)));
  throw new Failure('NotFound', `choosing an image from manifest list ${name}: no image found in ${list} for ${platform}`, {
    advice: `The image is offered for ${[...new Set(offered)].join(', ') || 'no platform at all'}: use one that has ${spelled(wanted)}.`,
    code: 'NO_PLATFORM',
  });
}

/** Whether an image of one platform runs on another: same OS and architecture, and arm64 means arm64/v8. */
export function isSame(image: Platform, wanted: Platform): boolean {
  const variant = (platform: Platform) => platform.variant || (platform.architecture === 'arm64' ? 'v8' : '');
  return image.os === wanted.os && image.architecture === wanted.architecture && variant(image) === variant(wanted);
}

function spelled(platform: Platform): string {
  return `${platform.os}/${platform.architecture}${platform.variant === '' ? '' : `/${platform.variant}`}`;
}
