import { Failure } from '../errors/index.ts';
import { type Digest, parseDigest } from '../ids/index.ts';
import { type JsonTable, arrayField, asTable, field, parseForeignJson, tableField, textField, textMapField, textsField } from './json.ts';
import type { Platform } from './platform.ts';
import { type Schema1Manifest, parseSchema1 } from './schema1.ts';

export const MEDIA_TYPES = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
} as const;

/** What we ask a registry for, best first [I43]. */
export const ACCEPTED_MANIFESTS: readonly string[] = [
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerManifest,
  MEDIA_TYPES.dockerSchema1Signed,
  MEDIA_TYPES.dockerSchema1,
  MEDIA_TYPES.dockerList,
  MEDIA_TYPES.ociIndex,
];

/** Bytes of a manifest or config at most [I42]. */
export const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;

/** A blob of docker schema 1: its manifests name no sizes. */
export const UNKNOWN_SIZE = -1;

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes; a safe integer, or UNKNOWN_SIZE. */
  readonly size: number;
  readonly urls: readonly string[];
  readonly annotations: ReadonlyMap<string, string>;
}

/** An image for one platform, of either format. */
export interface ImageManifest {
  readonly kind: 'image';
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  /** Empty in docker's format. */
  readonly annotations: ReadonlyMap<string, string>;
}

export interface IndexEntry extends Descriptor {
  readonly platform: Platform | undefined;
}

/** An OCI index or a docker manifest list. */
export interface ImageIndex {
  readonly kind: 'index';
  readonly mediaType: string;
  readonly entries: readonly IndexEntry[];
}

/** Something else than a container image [I53]. */
export interface Artifact {
  readonly kind: 'artifact';
  readonly mediaType: string;
  readonly artifactType: string;
  /** undefined for a document that is no manifest of blobs at all. */
  readonly config: Descriptor | undefined;
  readonly layers: readonly Descriptor[];
  readonly annotations: ReadonlyMap<string, string>;
}

export type Manifest = ImageManifest | ImageIndex | Artifact | Schema1Manifest;

/**
 * Reads a manifest once into plain values. `contentType` is the answer's header, '' when unknown: it must agree
 * with the document's own `mediaType` and with the fields that are there, so that one digest has one meaning [a42].
 * Fails with Unknown (INVALID_DOCUMENT) for what contradicts itself.
 */
export function parseManifest(bytes: Uint8Array, contentType: string): Manifest {
  if (bytes.length > MAX_DOCUMENT_BYTES) throw invalid(`larger than ${MAX_DOCUMENT_BYTES} bytes`);
  const table = parseForeignJson(bytes, 'manifest');
  const keys = Object.keys(table).map((key) => key.toLowerCase());
  if (new Set(keys).size !== keys.length) throw invalid('two keys differ only in case');
  const mediaType = mediaTypeOf(table, contentType);
  switch (mediaType) {
    case MEDIA_TYPES.ociManifest:
    case MEDIA_TYPES.dockerManifest:
      return parseImage(table, mediaType);
    case MEDIA_TYPES.ociIndex:
    case MEDIA_TYPES.dockerList:
      return parseIndex(table, mediaType);
    case MEDIA_TYPES.dockerSchema1:
    case MEDIA_TYPES.dockerSchema1Signed:
      return parseSchema1(table, Buffer.from(bytes), mediaType);
    default:
      return unread(mediaType, textField(table, 'artifactType', 'manifest') ?? '');
  }
}

const KNOWN: ReadonlySet<string> = new Set(ACCEPTED_MANIFESTS);

function mediaTypeOf(table: JsonTable, contentType: string): string {
  if (field(table, 'schemaVersion') === 1)
    return arrayField(table, 'signatures', 'manifest') === undefined ? MEDIA_TYPES.dockerSchema1 : MEDIA_TYPES.dockerSchema1Signed;
  const said = textField(table, 'mediaType', 'manifest');
  const sent = KNOWN.has(contentType) ? contentType : undefined;
  if (said !== undefined && sent !== undefined && said !== sent)
    throw invalid(`the answer's Content-Type ${sent} is not the document's mediaType ${said}`);
  return said ?? sent ?? guessed(table);
}

/** For documents without mediaType from registries that send no useful Content-Type. */
function guessed(table: JsonTable): string {
  if (field(table, 'manifests') !== undefined) return MEDIA_TYPES.ociIndex;
  if (field(table, 'layers') !== undefined && field(table, 'config') !== undefined) return MEDIA_TYPES.ociManifest;
  throw invalid('neither mediaType nor fields tell what it is');
}

function parseImage(table: JsonTable, mediaType: string): ImageManifest | Artifact {
  checkVersion(table);
  refuseFields(table, ['manifests', 'fsLayers', 'history'], mediaType);
  const config = parseDescriptor(field(table, 'config'), 'manifest: config');
  const artifactType = textField(table, 'artifactType', 'manifest') ?? '';
  const isImage = config.mediaType === MEDIA_TYPES.ociConfig || config.mediaType === MEDIA_TYPES.dockerConfig || config.mediaType === '';
  const layers = (arrayField(table, 'layers', 'manifest') ?? []).map((layer, index) => parseDescriptor(layer, `manifest: layer ${index}`));
  const annotations = textMapField(table, 'annotations', 'manifest');
  if (isImage && artifactType === '') return { kind: 'image', mediaType, config, layers, annotations };
  return { kind: 'artifact', mediaType, artifactType: artifactType || config.mediaType, config, layers, annotations };
}

function parseIndex(table: JsonTable, mediaType: string): ImageIndex | Artifact {
  checkVersion(table);
  refuseFields(table, ['config', 'layers', 'fsLayers', 'history'], mediaType);
  const artifactType = textField(table, 'artifactType', 'manifest') ?? '';
  if (artifactType !== '') return unread(mediaType, artifactType);
  const entries = (arrayField(table, 'manifests', 'manifest') ?? []).map((entry, index) => {
    const what = `manifest: entry ${index}`;
    const platform = tableField(asTable(entry, what), 'platform', what);
    return { ...parseDescriptor(entry, what), platform: platform === undefined ? undefined : parsePlatform(platform, what) };
  });
  return { kind: 'index', mediaType, entries };
}

function unread(mediaType: string, artifactType: string): Artifact {
  return { kind: 'artifact', mediaType, artifactType, config: undefined, layers: [], annotations: new Map() };
}

function checkVersion(table: JsonTable): void {
  if (field(table, 'schemaVersion') !== 2) throw invalid('schemaVersion is not 2');
}

function refuseFields(table: JsonTable, names: readonly string[], mediaType: string): void {
  for (const name of names) if (Object.hasOwn(table, name)) throw invalid(`a ${mediaType} must not have the field ${name}`);
}

function parseDescriptor(value: unknown, what: string): Descriptor {
  const table = asTable(value, what);
  const digestText = textField(table, 'digest', what) ?? '';
  const digest = parseDigest(digestText);
  if (digest === undefined) throw invalid(`${what}: invalid digest ${JSON.stringify(digestText.slice(0, 160))}`);
  const size = field(table, 'size');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw invalid(`${what}: invalid size`);
  return {
    mediaType: textField(table, 'mediaType', what) ?? '',
    digest,
    size,
    urls: textsField(table, 'urls', what),
    annotations: textMapField(table, 'annotations', what),
  };
}

function parsePlatform(table: JsonTable, what: string): Platform {
  return {
    architecture: textField(table, 'architecture', what) ?? '',
    os: textField(table, 'os', what) ?? '',
    variant: textField(table, 'variant', what) ?? '',
  };
}

function invalid(problem: string): Failure {
  return new Failure('Unknown', `manifest: ${problem}`, { code: 'INVALID_DOCUMENT' });
}
