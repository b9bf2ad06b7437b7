import { join } from 'node:path';
import { textOf, wrap } from '../errors/index.ts';
import { DirectoryFollower } from '../files/index.ts';
import type { ImageService, ImageSettings } from '../images/index.ts';
import type { Logger } from '../log/index.ts';
import { Mutex, Settled } from '../sync/index.ts';

const QUIET_MS = 200;

type ConfPaths = Pick<ImageSettings, 'registriesConfFiles' | 'registriesConfDirs'>;

/** Takes over what changed in registries.conf while the daemon runs [I89, I90, B179, B185]. */
export class LiveRegistries {
  readonly #images: Pick<ImageService, 'reload'>;
  readonly #settings: ConfPaths;
  readonly #log: Logger;
  readonly #afterChanges = new Settled(() => this.#takeOver('Failed to reload registry configuration'), QUIET_MS);
  readonly #reading = new Mutex();
  #follower: DirectoryFollower | undefined;
  /** Of a burst. */
  #told = new Set<string>();

  constructor(images: Pick<ImageService, 'reload'>, settings: ConfPaths, log: Logger) {
    this.#images = images;
    this.#settings = settings;
    this.#log = log;
  }

  /** Only the system's drop-in directory is watched. Where it cannot be, the daemon goes on without. */
  async watch(): Promise<void> {
    const dir = this.#settings.registriesConfDirs[0] ?? '';
    const onError = (error: unknown) => this.#log.error(`Failed to add watcher for path ${JSON.stringify(dir)}: ${textOf(error)}`);
    this.#follower = new DirectoryFollower(dir, { onChange: ({ file }) => this.#changed(dir, file), onError });
    try {
      await this.#follower.start({ make: false });
      this.#log.info('Registered reload watcher for mirror registries configuration');
    } catch (error) {
      onError(error);
    }
  }

  /** What SIGHUP asks for. */
  async reload(): Promise<void> {
    await this.#takeOver('Unable to reload configuration');
  }

  async close(): Promise<void> {
    this.#follower?.close();
    await this.#afterChanges.stop();
  }

  #changed(dir: string, file: string | undefined): void {
    if (file !== undefined && !file.endsWith('.conf')) return;
    const path = join(dir, file ?? '');
    if (!this.#told.has(path)) this.#log.info(`File ${JSON.stringify(path)} changed, reloading registries configuration`);
    this.#told.add(path);
    this.#afterChanges.poke();
  }

  async #takeOver(failed: string): Promise<void> {
    this.#told.clear();
    await this.#reading.run(async () => {
      try {
        const { conf } = await this.#images.reload();
        const shown = { registries: [...conf.registries.values()], unqualifiedSearchRegistries: conf.search?.registries ?? [] };
        this.#log.info(`Applied new registry configuration: ${JSON.stringify(shown)}`);
      } catch (error) {
        const path = this.#settings.registriesConfFiles.at(-1) ?? '';
        this.#log.error(`${failed}: ${textOf(wrap(`system registries reload failed: ${path}`, error))}`);
      }
    });
  }
}
