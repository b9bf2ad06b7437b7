import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { Failure, codeOf, kindOf, textOf, wrap } from '../errors/index.ts';
import { type Digest, type HexId, hexOf, sha256 } from '../ids/index.ts';
import type { Logger } from '../log/index.ts';
import { FOREIGN_IMAGE, type ImageRecord } from '../storage/index.ts';
import { Flights } from '../sync/index.ts';
import { type ArtifactFile, Artifacts } from './artifacts.ts';
import { Catalogue } from './catalogue.ts';
import { type Credentials, fingerprint, fromRequest } from './credentials.ts';
import { readDecryptionKeys } from './decryption/index.ts';
import type { Image, ImageFsUsage, PullMetrics, PullOptions, PullProgress, PullResult } from './image.ts';
import { byId, byReference, isPinned } from './names.ts';
import { takeOneTimeAuth } from './namespaced-auth.ts';
import { hostPlatform } from './platform.ts';
import { LayerFetcher, type SourceContext, failureLabel, pullImage } from './pull/index.ts';
import { type ImageReference, formatReference, normaliseReference, tryNormaliseReference } from './reference.ts';
import { type LoadedRegistries, type Resolution, loadRegistries, resolveShortName } from './registries/index.ts';
import { Sessions, Transport } from './registry/index.ts';
import { type ImageSettings, goArchitecture } from './settings.ts';
import type { ImageStore, Unpacker } from './store.ts';
import { storedSignatures } from './stored-signatures.ts';
import { type PolicyPaths, enforcePolicy, loadPolicy, loadPolicyOfUse, wantsSignatures } from './trust/index.ts';
import { RecordUsage } from './usage.ts';

export interface ImageServiceOptions {
  readonly store: ImageStore;
  readonly unpacker: Unpacker;
  readonly settings: ImageSettings;
  readonly log: Logger;
  readonly metrics?: PullMetrics;
}

/** One pull by the name that its client gave. */
interface NamedPull {
  readonly text: string;
  readonly credentials: Credentials | undefined;
  readonly namespace: string;
  /** The only file of credentials; '' for the usual ones. */
  readonly authFile: string;
  /** Where keys for encrypted layers are; '' for none. */
  readonly keysPath: string;
  readonly key: string;
}

/** Images of one store: pulled, found, listed, removed. Knows no gRPC; section I of docs/reference. */
export class ImageService {
  readonly #store: ImageStore;
  readonly #log: Logger;
  readonly #metrics: PullMetrics | undefined;
  readonly #layers: LayerFetcher;
  readonly #transport: Transport;
  readonly #sessions: Sessions;
  readonly #catalogue: Catalogue;
  readonly #artifacts: Artifacts;
  readonly #usage: RecordUsage;
  readonly #containerUsage: RecordUsage | undefined;
  readonly #pulls = new Flights<string, HexId>();
  readonly #listeners = new Map<string, Set<(progress: PullProgress) => void>>();
  #settings: ImageSettings;
  #registries: Promise<LoadedRegistries> | undefined;

  constructor(options: ImageServiceOptions) {
    const { store, unpacker, settings, log } = options;
    this.#store = store;
    this.#log = log;
    this.#metrics = options.metrics;
    this.#settings = settings;
    this.#layers = new LayerFetcher({ store, unpacker, maxDownloads: settings.maxDownloads });
    this.#transport = new Transport(settings);
    this.#sessions = new Sessions(this.#transport);
    this.#catalogue = new Catalogue(store, log);
    this.#artifacts = new Artifacts(store.artifacts, log);
    this.#usage = new RecordUsage(join(store.imageRoot, 'overlay-images'), 'images.json');
    if (store.imageRoot !== store.graphRoot) this.#containerUsage = new RecordUsage(join(store.graphRoot, 'overlay-containers'));
  }

  /** Ends the connections to registries. */
  close(): void {
    this.#transport.close();
  }

  /**
   * Takes over changed settings and reads registries.conf anew, for pulls that begin from now on; an unreadable one is refused
   * and the old one stays [I81, I89]. Called once at the start too, so that a bad file stops the daemon [I14].
   */
  async reload(settings: ImageSettings = this.#settings): Promise<LoadedRegistries> {
    const registries = await loadRegistries(pathsOf(settings));
    this.#registries = Promise.resolve(registries);
    this.#settings = settings;
    return registries;
  }

  /**
   * Pulls an image, whether it is there or not [I2]. Equal requests at the same time share one pull, which ends
   * early only when all of them have gone [I4]. Fails with Unknown and CRI-O's sentences, with Canceled or
   * DeadlineExceeded when it was stopped [I5, I6, I7].
   */
  pull(reference: string, options: PullOptions = {}): Promise<PullResult> {
    return this.#pull(reference, options, { authFile: '', keysPath: this.#settings.decryptionKeysPath });
  }

  /** Pulls `pause_image`, with `pause_image_auth_file` where there is one [I83]. */
  pullPauseImage(): Promise<PullResult> {
    return this.#pull(this.#settings.pauseImage, {}, { authFile: this.#settings.pauseImageAuthFile, keysPath: '' });
  }

  async #pull(reference: string, options: PullOptions, own: Pick<NamedPull, 'authFile' | 'keysPath'>): Promise<PullResult> {
    this.#log.info(`Pulling image: ${reference}`);
    const credentials = fromRequest(options.auth);
    const namespace = options.namespace ?? '';
    const parts = [reference, options.cgroupParent ?? '', fingerprint(credentials), namespace, own.authFile, own.keysPath];
    const key = createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
    const listeners = this.#listeners.get(key) ?? new Set();
    if (options.onProgress !== undefined) this.#listeners.set(key, listeners.add(options.onProgress));
    try {
      const order = { text: reference, credentials, namespace, ...own, key };
      const work = (signal: AbortSignal) => this.#pullCandidates(order, signal);
      const imageId = await this.#pulls.join(key, work, options.signal);
      this.#log.info(`Pulled image: ${imageId}`);
      return { imageRef: imageId, imageId };
    } catch (error) {
      throw asAnswer(error);
    } finally {
      if (options.onProgress !== undefined) listeners.delete(options.onProgress);
      if (listeners.size === 0) this.#listeners.delete(key);
    }
  }

  /** All images, in the store's order [I64]. */
  async list(): Promise<readonly Image[]> {
    return await this.#catalogue.list(await this.#store.images(), this.#pinnedPatterns());
  }

  /**
   * The image of an id, an id's prefix or a name, short ones included [I8]; undefined where there is none. Fails
   * with InvalidArgument for what is no name, unless it could be an id [I71].
   */
  async find(nameOrId: string): Promise<Image | undefined> {
    const records = await this.#store.images();
    const record = byId(records, nameOrId);
    const found = record.isId ? record.record : await this.#byName(records, nameOrId);
    return found === undefined ? undefined : await this.#catalogue.image(found, this.#pinnedPatterns());
  }

  /** All images, and after them all artifacts [I64]. */
  async listAll(): Promise<readonly Image[]> {
    return [...(await this.list()), ...(await this.#artifacts.list(this.#isPinned))];
  }

  /** The image of a name or id; where there is none, the artifact [I57, I70]. */
  async findAny(nameOrId: string): Promise<{ readonly image: Image; readonly isArtifact: boolean } | undefined> {
    const artifact = await this.#artifacts.find(nameOrId, this.#isPinned);
    if (artifact !== undefined && (await this.#isNoImage(nameOrId))) return { image: artifact, isArtifact: true };
    const image = await this.find(nameOrId);
    return image === undefined ? undefined : { image, isArtifact: false };
  }

  async #isNoImage(nameOrId: string): Promise<boolean> {
    return (await this.find(nameOrId).catch(() => undefined)) === undefined;
  }

  /** What a list's filter means: the image that `find` finds, and the artifact of that name; never more [I65]. */
  async listNamed(name: string): Promise<readonly Image[]> {
    const both = [await this.find(name), await this.#artifacts.find(name, this.#isPinned)];
    return both.filter((image) => image !== undefined);
  }

  /** The files of an artifact that a container mounts, below a path of it; undefined where it is none [I59–I61]. */
  async artifactFiles(name: string, subPath: string): Promise<{ readonly id: HexId; readonly files: readonly ArtifactFile[] } | undefined> {
    return this.#settings.artifactMounts ? await this.#artifacts.files(name, subPath) : undefined;
  }

  /** The fully qualified names that a text may mean, for a pull or a look-up [I9, I10, I11]. */
  async resolve(text: string): Promise<readonly ImageReference[]> {
    return (await this.#resolution(text)).candidates;
  }

  /**
   * Removes an image by id, with all its names; by name only that name while others remain [I74]. What is not
   * there counts as removed. Fails as the store does while a container uses it [I75].
   */
  async remove(nameOrId: string): Promise<void> {
    await this.#removeImage(nameOrId);
    await this.#artifacts.remove(nameOrId);
  }

  async #removeImage(nameOrId: string): Promise<void> {
    const records = await this.#store.images();
    const match = byId(records, nameOrId);
    if (match.isId) {
      if (match.record !== undefined) await this.#delete(match.record.id, 'delete image');
      return;
    }
    for (const reference of (await this.#resolution(nameOrId)).candidates) {
      const record = byReference(records, reference);
      if (record === undefined) continue;
      const remaining = record.names.filter((name) => name !== formatReference(reference));
      if (remaining.length === 0) await this.#delete(record.id, undefined);
      else if (remaining.length < record.names.length) await this.#store.setImageNames(record.id, remaining);
      return;
    }
  }

  /**
   * Checks an image against the policy once more, for the namespace that is going to use it [I33, D127, p25].
   * `named` is the image as the user wrote it, `id` the one that it means. Fails with `checking signature of …`.
   */
  async verifyUse(named: string, namespace: string, id: HexId): Promise<void> {
    const policy = await loadPolicyOfUse(this.#policyPaths, namespace);
    if (policy === undefined) return;
    if (named === '') throw new Failure('Unknown', 'user specified image not specified, cannot verify image signature');
    let reference: ImageReference;
    try {
      reference = normaliseReference(named);
    } catch (error) {
      throw asAnswer(wrap(`unable to get userSpecifiedImageRef from user specified image ${JSON.stringify(named)}`, error));
    }
    try {
      const record = wantsSignatures(policy, reference) ? (await this.#store.images()).find((image) => image.id === id) : undefined;
      const digest = record?.bigDataDigests.get('manifest') ?? sha256('');
      const signatures = record === undefined ? [] : await storedSignatures(this.#store, record);
      await enforcePolicy(policy, { reference, digest, signatures });
    } catch (error) {
      throw asAnswer(
        wrap(`checking signature of ${JSON.stringify(formatReference(reference))}: verifying signatures: SignatureValidationFailed`, error),
      );
    }
  }

  get #policyPaths(): PolicyPaths {
    const { signaturePolicy: file, policyFiles: defaults, signaturePolicyDir: namespaceDir } = this.#settings;
    return { file, defaults, namespaceDir };
  }

  /** Usage of the image records' directory, as the reference reports it [I79]; with an image store, of the containers' too [I80]. */
  async fsInfo(): Promise<{ readonly images: ImageFsUsage; readonly containers: ImageFsUsage }> {
    const [containers, images] = [await this.#containerUsage?.measure(), await this.#usage.measure()];
    return { images, containers: containers ?? images };
  }

  async #pullCandidates(order: NamedPull, signal: AbortSignal): Promise<HexId> {
    const { text, credentials, namespace, key } = order;
    const settings = this.#settings;
    const policy = await loadPolicy(this.#policyPaths, namespace);
    const keys = await readDecryptionKeys(order.keysPath);
    const oneTime = await takeOneTimeAuth(settings.namespacedAuthDir, namespace, text, this.#log);
    try {
      const resolution = await this.#resolution(text);
      if (settings.defaultTransport !== 'docker://')
        throw new Failure(
          'Unknown',
          settings.defaultTransport === ''
            ? 'DefaultTransport is not set'
            : `default_transport ${settings.defaultTransport} cannot be pulled from`,
        );
      const source = await this.#sourceContext(credentials, oneTime?.path ?? order.authFile);
      let last: unknown;
      for (const reference of resolution.candidates) {
        try {
          const present = await this.#artifacts.readOnly(reference);
          if (present !== undefined) return hexOf(present.digest) as HexId;
          const onProgress = (progress: PullProgress) => this.#report(key, progress);
          const id = await pullImage({ reference, source, policy, keys, onProgress }, this.#store, this.#layers, signal);
          this.#metrics?.success();
          return id;
        } catch (error) {
          signal.throwIfAborted();
          this.#metrics?.failure(failureLabel(error));
          this.#log.debug(`Error pulling image ${formatReference(reference)}: ${textOf(error)}`);
          last = error;
        }
      }
      throw last;
    } finally {
      await oneTime?.end();
    }
  }

  async #sourceContext(credentials: Credentials | undefined, ownFile: string): Promise<SourceContext> {
    const settings = this.#settings;
    const only = ownFile || settings.globalAuthFile;
    return {
      registries: await this.#loaded(),
      credentials,
      authFiles: only === '' ? settings.authFiles : [{ path: only, format: 'auths' }],
      settings,
      transport: this.#transport,
      sessions: this.#sessions,
      platform: hostPlatform(goArchitecture(process.arch)),
      storedConfig: (digest) => this.#storedConfig(digest),
      log: this.#log,
    };
  }

  /** Verified: what lies in the store may have been damaged since it was pulled. */
  async #storedConfig(digest: Digest): Promise<Buffer | undefined> {
    const record = (await this.#store.images()).find(({ id }) => id === hexOf(digest));
    if (record?.bigDataNames.includes(digest) !== true) return undefined;
    const bytes = await this.#store.imageBigData(record.id, digest).catch(() => undefined);
    return bytes !== undefined && sha256(bytes) === digest ? bytes : undefined;
  }

  #report(key: string, progress: PullProgress): void {
    for (const listener of this.#listeners.get(key) ?? []) listener(progress);
    const { digest, mediaType, step, offset, size, reference } = progress;
    if (step === 'reused') this.#metrics?.layerReused(`${reference}@${digest}`);
    if (step === 'downloaded') {
      this.#metrics?.layerDone(size);
      this.#metrics?.bytes(mediaType, size, offset);
    }
  }

  async #byName(records: readonly ImageRecord[], name: string): Promise<ImageRecord | undefined> {
    let resolution: Resolution;
    try {
      resolution = await this.#resolution(name);
    } catch (error) {
      if (/^[0-9A-Fa-f]{3,}$/.test(name)) return undefined;
      throw error;
    }
    for (const reference of resolution.candidates) {
      const record = byReference(records, reference);
      if (record !== undefined) return record;
    }
    return undefined;
  }

  async #resolution(text: string): Promise<Resolution> {
    const { conf, path, foundAny } = await this.#loaded();
    const resolution = resolveShortName(text, { conf, mode: this.#settings.shortNameMode, confPath: foundAny ? path : undefined });
    if (resolution.because !== undefined) this.#log.info(resolution.because);
    return resolution;
  }

  #loaded(): Promise<LoadedRegistries> {
    this.#registries ??= loadRegistries(pathsOf(this.#settings)).catch((error: unknown) => {
      this.#registries = undefined;
      throw error;
    });
    return this.#registries;
  }

  async #delete(id: HexId, prefix: string | undefined): Promise<void> {
    try {
      await this.#store.deleteImage(id);
      this.#log.info(`Removed image: ${id}`);
    } catch (error) {
      // Another store's is as good as not there to whoever removes it [J37].
      if (codeOf(error) === FOREIGN_IMAGE) this.#log.info(`Not removed: ${textOf(error)}`);
      if (kindOf(error) === 'NotFound') return;
      throw prefix === undefined ? error : wrap(prefix, error);
    }
  }

  readonly #isPinned = (names: readonly string[]) => isPinned(names, this.#pinnedPatterns());

  /** The pause image counts as pinned, as written and as it is stored [I81]. */
  #pinnedPatterns(): readonly string[] {
    const { pauseImage, pinnedImages } = this.#settings;
    const normal = tryNormaliseReference(pauseImage);
    return [...pinnedImages, pauseImage, ...(normal === undefined ? [] : [formatReference(normal)])].filter((pattern) => pattern !== '');
  }
}

function pathsOf(settings: ImageSettings) {
  return { files: settings.registriesConfFiles, dirs: settings.registriesConfDirs, aliasFile: settings.shortNameAliasesFile };
}

/** Of kinds, only being stopped reaches the client of a pull; everything else is Unknown there [I7]. */
function asAnswer(error: unknown): unknown {
  const kind = kindOf(error);
  if (kind === 'Unknown' || kind === 'Canceled' || kind === 'DeadlineExceeded') return error;
  const code = codeOf(error);
  const advice = error instanceof Failure ? error.advice : undefined;
  const details = { cause: error, ...(code === undefined ? {} : { code }), ...(advice === undefined ? {} : { advice }) };
  return new Failure('Unknown', textOf(error), details);
}
