import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface StoredManifest extends Descriptor {
  readonly bytes: Buffer;
}

export type LayerFormat = 'gzip' | 'zstd' | 'none';

/** An uncompressed layer, and how it is to be stored. */
export interface LayerSource {
  readonly tar: Buffer;
  readonly format?: LayerFormat;
}

export interface ImageSource {
  readonly layers: readonly LayerSource[];
  /** The `config` of the image's config: Cmd, Env, … */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Replaces fields of the config blob, `architecture` for instance. */
  readonly more?: Readonly<Record<string, unknown>>;
  readonly docker?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * The directory in which Debian's docker-registry keeps its blobs, written without asking it: a test lays there what
 * a registry would refuse, and images of the harness are made once and served read-only ever after.
 */
export class RegistryStorage {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  hasTag(repository: string, tag: string): boolean {
    return existsSync(join(this.#repository(repository), '_manifests/tags', tag, 'current/link'));
  }

  /** Stores a blob of a repository; `as` gives it another digest than its own. */
  putBlob(repository: string, mediaType: string, data: Uint8Array, as?: string): Descriptor {
    const digest = as ?? sha256(data);
    const file = this.blobFile(digest);
    if (!existsSync(file) || as !== undefined) write(file, data);
    write(join(this.#repository(repository), '_layers/sha256', hex(digest), 'link'), digest);
    return { mediaType, digest, size: data.length };
  }

  /** The stored files of an image's layers. */
  layerFiles(repository: string, tag: string): string[] {
    const link = readFileSync(join(this.#repository(repository), '_manifests/tags', tag, 'current/link'), 'utf8');
    const { layers } = JSON.parse(readFileSync(this.blobFile(link), 'utf8')) as { layers: readonly Descriptor[] };
    return layers.map(({ digest }) => this.blobFile(digest));
  }

  blobFile(digest: string): string {
    return join(this.dir, 'docker/registry/v2/blobs/sha256', hex(digest).slice(0, 2), hex(digest), 'data');
  }

  /** Stores a manifest or an index, and names it by a tag unless there is none. */
  putManifest(repository: string, mediaType: string, document: object, tag?: string): StoredManifest {
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = sha256(bytes);
    write(this.blobFile(digest), bytes);
    const manifests = join(this.#repository(repository), '_manifests');
    write(join(manifests, 'revisions/sha256', hex(digest), 'link'), digest);
    if (tag !== undefined) {
      write(join(manifests, 'tags', tag, 'index/sha256', hex(digest), 'link'), digest);
      write(join(manifests, 'tags', tag, 'current/link'), digest);
    }
    return { mediaType, digest, size: bytes.length, bytes };
  }

  /** Stores an image: layers, config, manifest. */
  putImage(repository: string, tag: string | undefined, image: ImageSource): StoredManifest {
    const types = image.docker === true ? DOCKER : OCI;
    const layers = image.layers.map(({ tar, format = 'gzip' }) =>
      this.putBlob(repository, `${types.layer}${types.suffix[format]}`, compressed(tar, format)),
    );
    const config = {
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      created: '2026-01-02T03:04:05Z',
      config: image.config ?? {},
      rootfs: { type: 'layers', diff_ids: image.layers.map(({ tar }) => sha256(tar)) },
      history: image.layers.map((_, index) => ({ created: '2026-01-02T03:04:05Z', created_by: `layer ${index}` })),
      ...image.more,
    };
    const manifest = {
      schemaVersion: 2,
      mediaType: types.manifest,
      config: this.putBlob(repository, types.config, Buffer.from(JSON.stringify(config))),
      layers,
      ...(image.annotations === undefined ? {} : { annotations: image.annotations }),
    };
    return this.putManifest(repository, types.manifest, manifest, tag);
  }

  /** Stores an index of images that are there already. */
  putIndex(repository: string, tag: string, entries: readonly Descriptor[], docker = false): StoredManifest {
    const { index } = docker ? DOCKER : OCI;
    const manifests = entries.map(({ mediaType, digest, size, platform, annotations }) => ({
      mediaType,
      digest,
      size,
      platform,
      annotations,
    }));
    return this.putManifest(repository, index, { schemaVersion: 2, mediaType: index, manifests }, tag);
  }

  #repository(name: string): string {
    return join(this.dir, 'docker/registry/v2/repositories', name);
  }
}

export const OCI = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  suffix: { gzip: '+gzip', zstd: '+zstd', none: '' },
} as const;

export const DOCKER = {
  index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar',
  suffix: { gzip: '.gzip', zstd: '.zstd', none: '' },
} as const;

export function sha256(data: Uint8Array): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}

function compressed(tar: Buffer, format: LayerFormat): Buffer {
  if (format === 'gzip') return gzipSync(tar, { level: 6 });
  return format === 'zstd' ? zstdCompressSync(tar) : tar;
}

function hex(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** In one step: the registry, and other tests, may be reading. */
function write(file: string, data: Uint8Array | string): void {
  mkdirSync(dirname(file), { recursive: true });
  const aside = `${file}.${randomUUID()}`;
  writeFileSync(aside, data);
  if (existsSync(file) && statSync(file).isDirectory()) throw new Error(`${file} is a directory`);
  renameSync(aside, file);
}
