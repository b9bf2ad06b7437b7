import { Failure, textOf, wrap } from '../../errors/index.ts';
import { type Digest, algorithmOf, hexOf, sha256 } from '../../ids/index.ts';
import type { Logger } from '../../log/index.ts';
import { AUTH_FILES_HELPER, findCredentials } from '../credential-sources.ts';
import type { Credentials } from '../credentials.ts';
import type { OciImageConfig } from '../image.ts';
import { parseImageConfig } from '../image-config.ts';
import { type ImageManifest, MAX_DOCUMENT_BYTES, type Manifest, parseManifest } from '../manifest.ts';
import { type Schema1Manifest, configOfSchema1 } from '../schema1.ts';
import { type Platform, chooseInstance, isSame } from '../platform.ts';
import { type ImageReference, familiarReference, formatReference, tagOrDigest } from '../reference.ts';
import { type LoadedRegistries, type PullSource, pullSources } from '../registries/index.ts';
import {
  RegistryClient,
  type Sessions,
  type Transport,
  type Trust,
  checkDigest,
  loadTrust,
  readBlob,
  withoutClient,
} from '../registry/index.ts';
import type { AuthFileSource, ImageSettings } from '../settings.ts';
import { type Signature, collectSignatures } from '../trust/index.ts';
import { checkImage } from './check-image.ts';

/** A manifest that was found, and where. */
export interface OpenedSource {
  readonly client: RegistryClient;
  /** The image as it is called there. */
  readonly reference: ImageReference;
  readonly trust: Trust;
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly manifest: Manifest;
}

/** One platform's manifest, and what was found with it to prove where it comes from; nothing else of it is read before that. */
export interface Instance {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly manifest: Manifest;
}

/** One platform's image, its documents verified. */
export interface ResolvedImage {
  readonly client: RegistryClient;
  /** The index that the reference named, if it did. */
  readonly index: { readonly bytes: Buffer; readonly digest: Digest } | undefined;
  readonly manifest: ImageManifest | Schema1Manifest;
  readonly manifestBytes: Buffer;
  readonly manifestDigest: Digest;
  /** Of a schema 1 manifest: without the diff IDs, which nobody knows yet. */
  readonly config: OciImageConfig;
  readonly configBytes: Buffer;
}

export interface SourceContext {
  readonly registries: LoadedRegistries;
  /** Of the request; sent to the named host only [I16]. */
  readonly credentials: Credentials | undefined;
  readonly authFiles: readonly AuthFileSource[];
  readonly settings: ImageSettings;
  readonly transport: Transport;
  readonly sessions: Sessions;
  readonly platform: Platform;
  /** The config with that digest, where an image that is here has it. */
  readonly storedConfig: (digest: Digest) => Promise<Buffer | undefined>;
  readonly log: Logger;
}

/**
 * Finds the manifest of a reference: mirrors first, the registry last; where the manifest is, everything else is
 * fetched [I16]. Where several places were tried, the error lists each with its own result [p20].
 */
export async function openSource(reference: ImageReference, context: SourceContext, signal: AbortSignal): Promise<OpenedSource> {
  const sources = pullSources(context.registries.conf, reference);
  const failed: { readonly name: string; readonly error: unknown }[] = [];
  for (const [index, source] of sources.entries()) {
    const name = formatReference(source.reference);
    context.log.info(`Trying to access ${JSON.stringify(name)}`);
    try {
      return await attempt(reference, source, index === sources.length - 1, context, signal);
    } catch (error) {
      signal.throwIfAborted();
      failed.push({ name, error });
      context.log.debug(`Accessing ${JSON.stringify(name)} failed: ${textOf(error)}`);
    }
  }
  const primary = failed.at(-1);
  if (primary === undefined) throw new Failure('Internal', `no place to pull ${formatReference(reference)} from`);
  if (failed.length === 1) throw primary.error;
  const mirrors = failed.slice(0, -1).map(({ name, error }) => `[${name}: ${textOf(error)}]`);
  throw wrap(`(Mirrors also failed: ${mirrors.join('\n')}): ${primary.name}`, primary.error);
}

/** From an instance to its image: config, and its agreement with the manifest. */
export async function resolveImage(
  opened: OpenedSource,
  instance: Instance,
  context: SourceContext,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const { client } = opened;
  const { manifest } = instance;
  if (manifest.kind !== 'image' && manifest.kind !== 'schema1') throw notAnImage(manifest);
  const configBytes =
    manifest.kind === 'schema1'
      ? configOfSchema1(manifest, [])
      : ((await context.storedConfig(manifest.config.digest)) ?? (await readBlob(client, manifest.config, MAX_DOCUMENT_BYTES, signal)));
  const config = parseImageConfig(configBytes);
  if (manifest.kind === 'image') checkImage(manifest, config);
  reportPlatform(config, context);
  const index = opened.manifest.kind === 'index' ? { bytes: opened.bytes, digest: opened.digest } : undefined;
  return { client, index, manifest, manifestBytes: instance.bytes, manifestDigest: instance.digest, config, configBytes };
}

/**
 * The signatures of an instance [I32]. Those that nobody asks for are kept for namespaces that will; that they cannot be read
 * is no reason then to refuse the image.
 */
export async function signaturesOf(
  opened: OpenedSource,
  instance: Instance,
  context: SourceContext,
  wanted: boolean,
  signal: AbortSignal,
): Promise<readonly Signature[]> {
  const { client, reference, trust } = opened;
  const { settings, transport, log } = context;
  const source = { dirs: settings.registriesDirs, fallback: settings.defaultLookaside, reference, client, transport, trust };
  try {
    return await collectSignatures(source, instance.digest, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (wanted) throw wrap('reading signatures', error);
    log.warn(`Reading signatures failed, the policy needs none: ${textOf(error)}`);
    return [];
  }
}

/** How errors name a reference: `docker://busybox:latest`. */
export function sourceName(reference: ImageReference): string {
  return `docker://${familiarReference(reference)}`;
}

async function attempt(
  reference: ImageReference,
  source: PullSource,
  isLast: boolean,
  context: SourceContext,
  signal: AbortSignal,
): Promise<OpenedSource> {
  const { settings, transport, sessions, log, registries } = context;
  if (source.blockedBy !== undefined)
    throw new Failure('PermissionDenied', `registry ${source.blockedBy} is blocked in ${registries.path} or ${registries.dirPath}`, {
      code: 'BLOCKED',
    });
  const { domain } = source.reference;
  const trust = await loadTrust(domain, source.endpoint.insecure, settings.certsDirs);
  const ours = domain === reference.domain ? context.credentials : undefined;
  const credentials = ours ?? (await findCredentials(source.reference, credentialSources(context), log, signal));
  const client = new RegistryClient({
    reference: source.reference,
    credentials,
    trust,
    session: sessions.get(domain, trust, credentials),
    transport,
    retryServerErrors: isLast,
    progressTimeoutMs: settings.pullProgressTimeoutMs,
    log,
  });
  const { bytes, contentType } = await client.manifest(tagOrDigest(source.reference), signal);
  const manifest = parseManifest(bytes, contentType);
  const digested = manifest.kind === 'schema1' ? manifest.payload : bytes;
  if (reference.digest !== undefined) checkManifest(digested, reference.digest);
  const place = { reference: source.reference, trust: withoutClient(trust) };
  return { client, ...place, bytes, digest: reference.digest ?? sha256(digested), manifest };
}

function credentialSources({ authFiles, registries, settings }: SourceContext) {
  const { credentialHelpers } = registries.conf;
  return { files: authFiles, helpers: credentialHelpers.length > 0 ? credentialHelpers : [AUTH_FILES_HELPER], env: settings.env };
}

/** The manifest for this machine: the one that was named, or the one that an index has for its platform. */
export async function instanceOf(
  opened: OpenedSource,
  reference: ImageReference,
  context: SourceContext,
  signal: AbortSignal,
): Promise<Instance> {
  if (opened.manifest.kind !== 'index') return opened;
  const entry = chooseInstance(opened.manifest, context.platform, sourceName(reference));
  const { bytes, contentType } = await opened.client.manifest(entry.digest, signal);
  if (bytes.length !== entry.size)
    throw new Failure('Unknown', `manifest ${entry.digest} has ${bytes.length} bytes, the index says ${entry.size}`, {
      code: 'SIZE_INVALID',
    });
  checkManifest(bytes, entry.digest);
  return { bytes, digest: entry.digest, manifest: parseManifest(bytes, contentType) };
}

function checkManifest(bytes: Uint8Array, digest: Digest): void {
  checkDigest(bytes, digest, `Manifest to be saved does not match expected digest ${algorithmOf(digest)}:${hexOf(digest)}`);
}

/** Why this cannot be pulled as a container image. */
export function notAnImage(manifest: Manifest): Failure {
  if (manifest.kind === 'artifact')
    return new Failure(
      'Unimplemented',
      `unsupported image-specific operation on artifact with type ${JSON.stringify(manifest.artifactType || manifest.mediaType)}`,
      {
        code: 'ARTIFACT',
      },
    );
  return new Failure('Unimplemented', `an index inside an index (${manifest.mediaType}) is not supported`, { code: 'UNSUPPORTED' });
}

/** An image of another platform is pulled all the same [I45]; the runtime will say that it cannot be executed. */
function reportPlatform(config: OciImageConfig, { platform, log }: SourceContext): void {
  const own = { architecture: config.architecture, os: config.os, variant: config.variant ?? '' };
  if (isSame(own, platform)) return;
  const uses = `image uses OS "${own.os}"+architecture "${own.architecture}"+"${own.variant}"`;
  log.info(`Image operating system mismatch: ${uses}, expecting one of "${platform.os}+${platform.architecture}+${platform.variant}"`);
}
