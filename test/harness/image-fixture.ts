import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ImageService, type ImageSettings, defaultImageSettings } from '../../src/images/index.ts';
import { unmountLazily } from '../../src/linux/index.ts';
import { type Logger, createLogger } from '../../src/log/index.ts';
import { LayerUnpacker, Store, type StoreOptions } from '../../src/storage/index.ts';
import { machinesDir } from './tools.ts';

/** On a real file system, as machines are. */
const storesDir = `${machinesDir}-stores`;

/** An image of a store's records as the file has it. */
export interface ImageEntry {
  readonly id: string;
  readonly digest: string;
  readonly names?: readonly string[];
  readonly layer?: string;
  readonly metadata: string;
  readonly created: string;
  readonly 'big-data-names': readonly string[];
}

/**
 * A store and an image service over it, in a directory of its own, with nothing of the host's configuration. To be
 * made in a private mount namespace (`inPrivateNetwork`): the store mounts its overlay home.
 */
export class ImageFixture {
  readonly dir: string;
  readonly log: Logger;
  /** What was logged, from debug on. */
  logged = '';
  #parts: { readonly store: Store; readonly unpacker: LayerUnpacker; images: ImageService } | undefined;
  #settings: ImageSettings;

  constructor(parent = storesDir) {
    mkdirSync(parent, { recursive: true });
    this.dir = mkdtempSync(join(parent, 'store-'));
    this.log = createLogger({ level: 'debug', filter: undefined, write: (line) => (this.logged += line) });
    this.write('policy.json', '{"default":[{"type":"insecureAcceptAnything"}]}');
    this.write('registries.conf', '');
    this.#settings = {
      ...defaultImageSettings({ env: {}, uid: 0, version: '1.37.0' }),
      registriesConfFiles: [join(this.dir, 'registries.conf')],
      registriesConfDirs: [join(this.dir, 'registries.conf.d')],
      shortNameAliasesFile: '',
      certsDirs: [join(this.dir, 'certs.d')],
      policyFiles: [join(this.dir, 'policy.json')],
      signaturePolicyDir: join(this.dir, 'policies'),
      decryptionKeysPath: join(this.dir, 'keys'),
      namespacedAuthDir: join(this.dir, 'auth'),
      authFiles: [{ path: join(this.dir, 'auth.json'), format: 'auths' }],
      timeouts: { connectMs: 5000, headerMs: 5000, idleMs: 5000, backoffMs: 20, maxBackoffMs: 2000 },
    };
  }

  async start(more: Partial<StoreOptions> = {}): Promise<void> {
    const store = await Store.open({ graphRoot: join(this.dir, 'graph'), runRoot: join(this.dir, 'run'), log: this.log, ...more });
    const unpacker = new LayerUnpacker({ log: this.log, maxThreads: 4 });
    this.#parts = { store, unpacker, images: new ImageService({ store, unpacker, settings: this.#settings, log: this.log }) };
  }

  get images(): ImageService {
    assert.ok(this.#parts);
    return this.#parts.images;
  }

  get store(): Store {
    assert.ok(this.#parts);
    return this.#parts.store;
  }

  /** Takes over settings and the text of registries.conf. Registries that are named here are insecure unless said. */
  async configure(settings: Partial<ImageSettings>, registries?: string): Promise<void> {
    this.#settings = { ...this.#settings, ...settings };
    if (registries !== undefined) this.write('registries.conf', registries);
    await this.images.reload(this.#settings);
  }

  /** A service of its own over the same store: as after a restart, nothing known of any registry. */
  renew(): void {
    assert.ok(this.#parts);
    const { store, unpacker, images } = this.#parts;
    images.close();
    this.#parts.images = new ImageService({ store, unpacker, settings: this.#settings, log: this.log });
  }

  write(name: string, text: string | Uint8Array): string {
    const path = join(this.dir, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  /** images.json as it stands. */
  records(): readonly ImageEntry[] {
    const file = join(this.dir, 'graph/overlay-images/images.json');
    return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as ImageEntry[]) : [];
  }

  /** Removes all images, and then nothing of them may be left: no layer, no directory, nothing staged. */
  async clear(): Promise<void> {
    for (const { id } of await this.images.list()) await this.images.remove(id);
  }

  /** Ids of layers that the store knows. */
  layers(): string[] {
    const file = join(this.dir, 'graph/overlay-layers/layers.json');
    return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { id: string }[]).map(({ id }) => id) : [];
  }

  /** Fails when something stays where layers are made. What is done with is removed in the background, hence the patience. */
  async nothingStaged(): Promise<void> {
    for (let tries = 0; tries < 40 && this.staged().length > 0; tries++) await delay(25);
    assert.deepEqual(this.staged(), [], 'something staged was left behind');
  }

  /** What lies in the places where layers are made. */
  staged(): string[] {
    return ['overlay/staging', 'overlay-layers/tmp']
      .map((name) => join(this.dir, 'graph', name))
      .filter((dir) => existsSync(dir))
      .flatMap((dir) => readdirSync(dir, { recursive: true, encoding: 'utf8' }).map((name) => join(dir, name)))
      .filter((path) => /\/\d+-/.test(path));
  }

  async end(): Promise<void> {
    if (this.#parts !== undefined) {
      this.#parts.images.close();
      await this.#parts.unpacker.close();
      await this.#parts.store.close();
    }
    unmountLazily(join(this.dir, 'graph/overlay'));
    rmSync(this.dir, { recursive: true, force: true });
  }
}
