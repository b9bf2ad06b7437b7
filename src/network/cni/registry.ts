import { extname, join } from 'node:path';
import { textOf } from '../../errors/index.ts';
import { type DirectoryEvent, DirectoryFollower } from '../../files/index.ts';
import type { Logger } from '../../log/index.ts';
import { Settled } from '../../sync/index.ts';
import { type LoadedNetwork, type LoadedNetworks, NETWORK_EXTENSIONS, loadNetworks } from './networks.ts';
import type { Plugins } from './plugins.ts';

/** Editors and package managers write in bursts: one look after the burst is enough. */
const SETTLE_MS = 20;

export interface RegistryOptions {
  readonly networkDir: string;
  readonly pluginDirs: readonly string[];
  /** '' follows the files [H4]. */
  readonly defaultNetwork: string;
  readonly plugins: Plugins;
  readonly log: Logger;
  /** After each (re)load. */
  readonly onLoaded: () => void;
}

/** The networks that network_dir describes, kept current by watching it and the plugin directories [H10, H11]. */
export class NetworkRegistry {
  readonly #o: RegistryOptions;
  readonly #watches: readonly DirectoryFollower[];
  readonly #reload = new Settled(() => this.#load(), SETTLE_MS);
  #loaded: LoadedNetworks = { networks: new Map(), first: '', rejected: [] };

  constructor(o: RegistryOptions) {
    this.#o = o;
    const listener = {
      onChange: (event: DirectoryEvent) => this.#changed(event),
      onError: (error: unknown) => o.log.error(`CNI monitoring error ${textOf(error)}`),
    };
    this.#watches = [o.networkDir, ...o.pluginDirs].map((dir) => new DirectoryFollower(dir, listener));
  }

  /** Watches first, then loads: nothing that happens in between is lost. */
  async start(): Promise<void> {
    for (const watch of this.#watches) await watch.start({ make: true });
    await this.#reload.flush();
  }

  async stop(): Promise<void> {
    for (const watch of this.#watches) watch.close();
    await this.#reload.stop();
  }

  /** Looks for replaced or newly mounted directories; reloads when there are any. */
  async recheck(): Promise<void> {
    for (const watch of this.#watches) await watch.recheck();
  }

  async reload(): Promise<void> {
    await this.#reload.flush();
  }

  get defaultName(): string {
    return this.#o.defaultNetwork === '' ? this.#loaded.first : this.#o.defaultNetwork;
  }

  default(): LoadedNetwork | undefined {
    return this.byName(this.defaultName);
  }

  byName(name: string): LoadedNetwork | undefined {
    return this.#loaded.networks.get(name);
  }

  all(): readonly LoadedNetwork[] {
    return [...this.#loaded.networks.values()];
  }

  rejected(): LoadedNetworks['rejected'] {
    return this.#loaded.rejected;
  }

  #changed({ dir, file }: DirectoryEvent): void {
    if (file !== undefined && NETWORK_EXTENSIONS.includes(extname(file)))
      this.#o.log.info(`CNI monitoring event ${JSON.stringify(join(dir, file))}`);
    this.#reload.poke();
  }

  async #load(): Promise<void> {
    const { networkDir, plugins, log, defaultNetwork, onLoaded } = this.#o;
    try {
      const before = this.#loaded.first;
      this.#loaded = await loadNetworks(networkDir, plugins, log);
      if (defaultNetwork === '' && this.#loaded.first !== '' && this.#loaded.first !== before)
        log.info(`Updated default CNI network name to ${this.#loaded.first}`);
    } catch (error) {
      log.error(`CNI config loading failed, continue monitoring: ${textOf(error)}`);
    }
    onLoaded();
  }
}
