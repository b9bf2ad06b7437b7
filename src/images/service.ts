import { join } from 'node:path';
import { Failure, codeOf, kindOf, textOf, wrap } from '../errors/index.ts';
import { type HexId, sha256 } from '../ids/index.ts';
import type { Logger } from '../log/index.ts';
import { FOREIGN_IMAGE, type ImageRecord } from '../storage/index.ts';
import { asAnswer } from './answer.ts';
import type { SeparatePulls } from './apart/index.ts';
import { type ArtifactFile, Artifacts } from './artifacts.ts';
import { Catalogue } from './catalogue.ts';
import { ImageConfiguration } from './configuration.ts';
import type { Image, ImageFsUsage, PullMetrics, PullOptions, PullResult } from './image.ts';
import { byId, byReference, isPinned } from './names.ts';
import { Pulls } from './pulls.ts';
import { type ImageReference, formatReference, normaliseReference, tryNormaliseReference } from './reference.ts';
import type { LoadedRegistries, Resolution } from './registries/index.ts';
import type { ImageSettings } from './settings.ts';
import type { ImageStore, Unpacker } from './store.ts';
import { storedSignatures } from './stored-signatures.ts';
import { enforcePolicy, loadPolicyOfUse, wantsSignatures } from './trust/index.ts';
import { RecordUsage } from './usage.ts';

export interface ImageServiceOptions {
  readonly store: ImageStore;
  readonly unpacker: Unpacker;
  readonly settings: ImageSettings;
  readonly log: Logger;
  readonly metrics?: PullMetrics;
  /** Pulls whose cost is accounted elsewhere; undefined: all are done here [I37]. */
  readonly apart?: Pick<SeparatePulls, 'pull'> | undefined;
}

/** Images of one store: pulled, found, listed, removed. Knows no gRPC; section I of docs/reference. */
export class ImageService {
  readonly #store: ImageStore;
  readonly #log: Logger;
  readonly #configuration: ImageConfiguration;
  readonly #pulls: Pulls;
  readonly #catalogue: Catalogue;
  readonly #artifacts: Artifacts;
  readonly #usage: RecordUsage;
  readonly #containerUsage: RecordUsage | undefined;

  constructor(options: ImageServiceOptions) {
    const { store, unpacker, settings, log } = options;
    this.#store = store;
    this.#log = log;
    this.#configuration = new ImageConfiguration(settings, log);
    this.#catalogue = new Catalogue(store, log);
    this.#artifacts = new Artifacts(store.artifacts, log);
    const { metrics, apart } = options;
    this.#pulls = new Pulls({ store, unpacker, artifacts: this.#artifacts, configuration: this.#configuration, log, metrics, apart });
    this.#usage = new RecordUsage(join(store.imageRoot, 'overlay-images'), 'images.json');
    if (store.imageRoot !== store.graphRoot) this.#containerUsage = new RecordUsage(join(store.graphRoot, 'overlay-containers'));
  }

  /** Ends the connections to registries. */
  close(): void {
    this.#pulls.close();
  }

  /**
   * Takes over changed settings and reads registries.conf anew, for pulls that begin from now on; an unreadable one is refused
   * and the old one stays [I81, I89]. Called once at the start too, so that a bad file stops the daemon [I14].
   */
  async reload(settings?: ImageSettings): Promise<LoadedRegistries> {
    return await this.#configuration.reload(settings);
  }

  /**
   * Pulls an image, whether it is there or not [I2]. Equal requests at the same time share one pull, which ends
   * early only when all of them have gone [I4]. Fails with Unknown and CRI-O's sentences, with Canceled or
   * DeadlineExceeded when it was stopped [I5, I6, I7].
   */
  async pull(reference: string, options: PullOptions = {}): Promise<PullResult> {
    return await this.#pulls.pull(reference, options);
  }

  /** Pulls `pause_image`, with `pause_image_auth_file` where there is one [I83]. */
  async pullPauseImage(): Promise<PullResult> {
    return await this.#pulls.pullPauseImage();
  }

  /** As `pull`, for a process that does nothing else: answers the id. */
  async pullAlone(reference: string, options: PullOptions & { readonly signal: AbortSignal }): Promise<HexId> {
    return await this.#pulls.pullAlone(reference, options);
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
    return this.#configuration.settings.artifactMounts ? await this.#artifacts.files(name, subPath) : undefined;
  }

  /** The fully qualified names that a text may mean, for a pull or a look-up [I9, I10, I11]. */
  async resolve(text: string): Promise<readonly ImageReference[]> {
    return (await this.#configuration.resolve(text)).candidates;
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
    for (const reference of (await this.#configuration.resolve(nameOrId)).candidates) {
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
    const policy = await loadPolicyOfUse(this.#configuration.policyPaths, namespace);
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

  /** Usage of the image records' directory, as the reference reports it [I79]; with an image store, of the containers' too [I80]. */
  async fsInfo(): Promise<{ readonly images: ImageFsUsage; readonly containers: ImageFsUsage }> {
    const [containers, images] = [await this.#containerUsage?.measure(), await this.#usage.measure()];
    return { images, containers: containers ?? images };
  }

  async #byName(records: readonly ImageRecord[], name: string): Promise<ImageRecord | undefined> {
    let resolution: Resolution;
    try {
      resolution = await this.#configuration.resolve(name);
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
    const { pauseImage, pinnedImages } = this.#configuration.settings;
    const normal = tryNormaliseReference(pauseImage);
    return [...pinnedImages, pauseImage, ...(normal === undefined ? [] : [formatReference(normal)])].filter((pattern) => pattern !== '');
  }
}
