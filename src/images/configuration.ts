import type { Logger } from '../log/index.ts';
import { type LoadedRegistries, type Resolution, loadRegistries, resolveShortName } from './registries/index.ts';
import type { ImageSettings } from './settings.ts';
import type { PolicyPaths } from './trust/index.ts';

/** The settings and registries that hold now. */
export class ImageConfiguration {
  readonly #log: Logger;
  #settings: ImageSettings;
  #registries: Promise<LoadedRegistries> | undefined;

  constructor(settings: ImageSettings, log: Logger) {
    this.#settings = settings;
    this.#log = log;
  }

  get settings(): ImageSettings {
    return this.#settings;
  }

  get policyPaths(): PolicyPaths {
    const { signaturePolicy: file, policyFiles: defaults, signaturePolicyDir: namespaceDir } = this.#settings;
    return { file, defaults, namespaceDir };
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

  /** What a name stands for; which way is told in the log. */
  async resolve(text: string): Promise<Resolution> {
    const { conf, path, foundAny } = await this.registries();
    const resolution = resolveShortName(text, { conf, mode: this.#settings.shortNameMode, confPath: foundAny ? path : undefined });
    if (resolution.because !== undefined) this.#log.info(resolution.because);
    return resolution;
  }

  /** Read when they are first needed. */
  registries(): Promise<LoadedRegistries> {
    this.#registries ??= loadRegistries(pathsOf(this.#settings)).catch((error: unknown) => {
      this.#registries = undefined;
      throw error;
    });
    return this.#registries;
  }
}

function pathsOf(settings: ImageSettings) {
  const {
    registriesConfFiles: files,
    registriesConfRequired: required,
    registriesConfDirs: dirs,
    shortNameAliasesFile: aliasFile,
  } = settings;
  return { files, required, dirs, aliasFile };
}
