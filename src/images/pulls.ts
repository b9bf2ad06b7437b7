import { createHash } from 'node:crypto';
import { Failure, textOf } from '../errors/index.ts';
import { type Digest, type HexId, hexOf, sha256 } from '../ids/index.ts';
import type { Logger } from '../log/index.ts';
import { Flights } from '../sync/index.ts';
import { asAnswer } from './answer.ts';
import type { SeparatePulls } from './apart/index.ts';
import type { Artifacts } from './artifacts.ts';
import type { ImageConfiguration } from './configuration.ts';
import { type Credentials, fingerprint, fromRequest } from './credentials.ts';
import { readDecryptionKeys } from './decryption/index.ts';
import type { PullMetrics, PullOptions, PullProgress, PullResult } from './image.ts';
import { takeOneTimeAuth } from './namespaced-auth.ts';
import { hostPlatform } from './platform.ts';
import { LayerFetcher, type SourceContext, failureLabel, pullImage } from './pull/index.ts';
import { formatReference } from './reference.ts';
import { Sessions, Transport } from './registry/index.ts';
import { goArchitecture } from './settings.ts';
import type { ImageStore, Unpacker } from './store.ts';
import { loadPolicy } from './trust/index.ts';

export interface PullsOptions {
  readonly store: ImageStore;
  readonly unpacker: Unpacker;
  readonly artifacts: Artifacts;
  readonly configuration: ImageConfiguration;
  readonly log: Logger;
  readonly metrics?: PullMetrics | undefined;
  readonly apart?: Pick<SeparatePulls, 'pull'> | undefined;
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

/** The pulls of an image service. */
export class Pulls {
  readonly #store: ImageStore;
  readonly #artifacts: Artifacts;
  readonly #configuration: ImageConfiguration;
  readonly #log: Logger;
  readonly #metrics: PullMetrics | undefined;
  readonly #apart: Pick<SeparatePulls, 'pull'> | undefined;
  readonly #layers: LayerFetcher;
  readonly #transport: Transport;
  readonly #sessions: Sessions;
  readonly #flights = new Flights<string, HexId>();
  readonly #listeners = new Map<string, Set<(progress: PullProgress) => void>>();

  constructor({ store, unpacker, artifacts, configuration, log, metrics, apart }: PullsOptions) {
    const { settings } = configuration;
    this.#store = store;
    this.#artifacts = artifacts;
    this.#configuration = configuration;
    this.#log = log;
    this.#metrics = metrics;
    this.#apart = apart;
    this.#layers = new LayerFetcher({ store, unpacker, maxDownloads: settings.maxDownloads });
    this.#transport = new Transport(settings);
    this.#sessions = new Sessions(this.#transport);
  }

  /** Ends the connections to registries. */
  close(): void {
    this.#transport.close();
  }

  /** See ImageService. */
  async pull(reference: string, options: PullOptions = {}): Promise<PullResult> {
    const own = { authFile: '', keysPath: this.#configuration.settings.decryptionKeysPath };
    return await this.#shared(reference, options, own, (order, signal) => {
      if (this.#apart === undefined) return this.#pullCandidates(order, signal);
      const { auth, namespace = '', cgroupParent = '' } = options;
      const request = { reference, namespace, ...(auth === undefined ? {} : { auth }) };
      return this.#apart.pull(request, cgroupParent, (progress) => this.#report(order.key, progress), signal);
    });
  }

  async pullPauseImage(): Promise<PullResult> {
    const own = { authFile: this.#configuration.settings.pauseImageAuthFile, keysPath: '' };
    return await this.#shared(this.#configuration.settings.pauseImage, {}, own, (order, signal) => this.#pullCandidates(order, signal));
  }

  /** Without sharing and without a word in the log. */
  async pullAlone(reference: string, { auth, namespace = '', signal, onProgress }: PullOptions & { signal: AbortSignal }): Promise<HexId> {
    const own = { authFile: '', keysPath: this.#configuration.settings.decryptionKeysPath, key: '' };
    if (onProgress !== undefined) this.#listeners.set(own.key, new Set([onProgress]));
    try {
      return await this.#pullCandidates({ text: reference, credentials: fromRequest(auth), namespace, ...own }, signal);
    } catch (error) {
      throw asAnswer(error);
    }
  }

  /** Equal pulls join the first of them. */
  async #shared(
    reference: string,
    options: PullOptions,
    own: Pick<NamedPull, 'authFile' | 'keysPath'>,
    pull: (order: NamedPull, signal: AbortSignal) => Promise<HexId>,
  ): Promise<PullResult> {
    this.#log.info(`Pulling image: ${reference}`);
    const credentials = fromRequest(options.auth);
    const namespace = options.namespace ?? '';
    const parts = [reference, options.cgroupParent ?? '', fingerprint(credentials), namespace, own.authFile, own.keysPath];
    const key = createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
    const listeners = this.#listeners.get(key) ?? new Set();
    if (options.onProgress !== undefined) this.#listeners.set(key, listeners.add(options.onProgress));
    try {
      const order = { text: reference, credentials, namespace, ...own, key };
      const imageId = await this.#flights.join(key, (signal) => pull(order, signal), options.signal);
      this.#log.info(`Pulled image: ${imageId}`);
      return { imageRef: imageId, imageId };
    } catch (error) {
      throw asAnswer(error);
    } finally {
      if (options.onProgress !== undefined) listeners.delete(options.onProgress);
      if (listeners.size === 0) this.#listeners.delete(key);
    }
  }

  async #pullCandidates(order: NamedPull, signal: AbortSignal): Promise<HexId> {
    const { text, credentials, namespace, key } = order;
    const settings = this.#configuration.settings;
    const policy = await loadPolicy(this.#configuration.policyPaths, namespace);
    const keys = await readDecryptionKeys(order.keysPath);
    const oneTime = await takeOneTimeAuth(settings.namespacedAuthDir, namespace, text, this.#log);
    try {
      const resolution = await this.#configuration.resolve(text);
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
    const settings = this.#configuration.settings;
    const only = ownFile || settings.globalAuthFile;
    return {
      registries: await this.#configuration.registries(),
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
}
