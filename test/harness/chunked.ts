import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { newerDebianRoot } from './newer-debian.ts';
import { OCI, type RegistryStorage, type StoredManifest, sha256 } from './registry-storage.ts';
import { toolPath, unpackedTool } from './tools.ts';

const CONVERT = ['--src-tls-verify=false', '--dest-tls-verify=false', '--dest-compress-format=zstd:chunked', '--format=oci'];

/** What skopeo is told to make zstd:chunked layers of another image: source and destination follow. */
export const TO_CHUNKED: readonly string[] = ['copy', ...CONVERT];

/**
 * Copies an image and compresses its layers as zstd:chunked, with the newer Debian's skopeo; to be called in a private mount
 * namespace, for what skopeo writes goes to directories that lie over that shared root.
 */
export async function copyAsChunked(from: string, to: string): Promise<void> {
  const root = await newerDebianRoot();
  hide([`${root}/tmp`, `${root}/var/tmp`, `${root}/var/lib/containers`]);
  execFileSync('chroot', [root, 'skopeo', '--insecure-policy', ...TO_CHUNKED, `docker://${from}`, `docker://${to}`], ENVIRONMENT);
}

/** The same with Debian 12's skopeo, which knows no tar-split yet and calls the table of contents otherwise. */
export function copyAsOldChunked(from: string, to: string): void {
  const skopeo = unpackedTool('usr/bin/skopeo');
  hide(['/var/lib/containers']);
  execFileSync(skopeo, ['--insecure-policy', 'copy', ...CONVERT, `docker://${from}`, `docker://${to}`], ENVIRONMENT);
}

/** Lays empty directories over these: skopeo remembers there which blobs it has compressed, and would do it only once. */
function hide(dirs: readonly string[]): void {
  const script = 'for dir do mkdir -p "$dir"; mount -t tmpfs tmpfs "$dir"; done';
  execFileSync('sh', ['-euc', script, 'sh', ...dirs], { env: { PATH: toolPath } });
}

const ENVIRONMENT = { env: { PATH: toolPath, HOME: '/tmp' }, stdio: ['ignore', 'ignore', 'inherit'] as 'ignore'[] };

export interface LayerDescriptor {
  readonly mediaType: string;
  digest: string;
  size: number;
  annotations: Record<string, string>;
}

export interface ChunkedManifest {
  readonly config: { readonly digest: string };
  readonly layers: LayerDescriptor[];
}

export function manifestOf(storage: RegistryStorage, repository: string, tag: string): ChunkedManifest {
  const link = join(storage.dir, 'docker/registry/v2/repositories', repository, '_manifests/tags', tag, 'current/link');
  return JSON.parse(readFileSync(storage.blobFile(readFileSync(link, 'utf8')), 'utf8')) as ChunkedManifest;
}

/** One of a table's entries, as far as tests change them. */
export interface TocEntry {
  type: string;
  name: string;
  size?: number;
  digest?: string;
  offset?: number;
  endOffset?: number;
  chunkSize?: number;
  chunkOffset?: number;
  chunkDigest?: string;
  chunkType?: string;
}

export interface Toc {
  version: number;
  entries: TocEntry[];
  tarSplitDigest?: string;
}

const KEY = 'io.github.containers.zstd-chunked.';
const tableAt = (blob: Buffer, place: string) => {
  const [offset = 0, length = 0] = place.split(':').map(Number);
  return blob.subarray(offset, offset + length);
};

/** Table of contents and tar-split (JSON lines) of a zstd:chunked blob. */
export function tablesOf(blob: Buffer, { annotations }: LayerDescriptor): { toc: Toc; tarSplit: string } {
  const place = (name: string) => zstdDecompressSync(tableAt(blob, annotations[`${KEY}${name}-position`] ?? '')).toString('utf8');
  return { toc: JSON.parse(place('manifest')) as Toc, tarSplit: place('tarsplit') };
}

/**
 * Another image of the same layers, whose last one has other tables: they stand behind the old ones, in frames that a
 * decompressor passes over, so that the blob unpacks as before.
 */
export function putRetold(
  storage: RegistryStorage,
  from: { readonly repository: string; readonly tag: string },
  to: string,
  retell: (tables: { toc: Toc; tarSplit: string }, layer: LayerDescriptor) => void,
): StoredManifest {
  const manifest = manifestOf(storage, from.repository, from.tag);
  const layer = manifest.layers.at(-1);
  assert.ok(layer !== undefined);
  const blob = readFileSync(storage.blobFile(layer.digest));
  const tables = tablesOf(blob, layer);
  const known = JSON.stringify(layer.annotations);
  const digestBefore = tables.toc.tarSplitDigest;
  retell(tables, layer);
  const tarSplit = Buffer.from(tables.tarSplit);
  const packedSplit = zstdCompressSync(tarSplit);
  if (tables.toc.tarSplitDigest === digestBefore) tables.toc.tarSplitDigest = sha256(packedSplit);
  const toc = Buffer.from(JSON.stringify(tables.toc));
  const packed = zstdCompressSync(toc);
  const at = blob.length + 8;
  const told = Buffer.concat([blob, skippable(packed), skippable(packedSplit)]);
  if (JSON.stringify(layer.annotations) === known)
    layer.annotations = {
      [`${KEY}manifest-checksum`]: sha256(packed),
      [`${KEY}manifest-position`]: `${at}:${packed.length}:${toc.length}:1`,
      [`${KEY}tarsplit-position`]: `${at + packed.length + 8}:${packedSplit.length}:${tarSplit.length}`,
    };
  Object.assign(layer, { digest: storage.putBlob(to, layer.mediaType, told).digest, size: told.length });
  for (const { digest, mediaType } of [...manifest.layers.slice(0, -1), { ...manifest.config, mediaType: OCI.config }])
    storage.putBlob(to, mediaType, readFileSync(storage.blobFile(digest)));
  return storage.putManifest(to, OCI.manifest, manifest, 'latest');
}

function skippable(bytes: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a50, 0);
  head.writeUInt32LE(bytes.length, 4);
  return Buffer.concat([head, bytes]);
}

/** Bytes that no compressor makes smaller, the same for the same seed. */
export function noise(seed: number, length: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** Bytes of a blob that a docker-registry gave out, by its access log. */
export function bytesServed(log: string, digest: string): number {
  const lines = log.matchAll(/"GET \/v2\/\S+\/blobs\/(\S+) HTTP\/1\.1" 20[06] (\d+)/g);
  return lines.reduce((sum, [, blob, bytes]) => (blob === digest ? sum + Number(bytes) : sum), 0);
}
