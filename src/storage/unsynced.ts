import { readFileSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { codeOf, textOf } from '../errors/index.ts';
import { removeHalfWritten, writeFileAtomic } from '../files/index.ts';
import { type HexId, isHexId } from '../ids/index.ts';
import type { Logger } from '../log/index.ts';

/** After a layer was committed, its files may wait so long for others to be made durable with. */
const SYNC_AFTER_MS = 2000;

export interface UnsyncedParts {
  /** The list on disk. */
  readonly path: string;
  /** Makes all contents durable. */
  readonly sync: () => Promise<void>;
  readonly log: Logger;
}

/**
 * The layers whose record may reach the disk before their files do: named in a file of their own before they are committed,
 * taken out when all has been made durable in the background. So a pull never waits for the disk, and after a power cut it is
 * known which layers to look at; all others are sound [p27].
 */
export class Unsynced {
  readonly #parts: UnsyncedParts;
  readonly #layers = new Set<HexId>();
  #writing: Promise<void> = Promise.resolve();
  #wanted: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #syncing: Promise<void> | undefined;

  constructor(parts: UnsyncedParts) {
    this.#parts = parts;
  }

  /** Layers that a boot which has ended did not make durable any more. Those of this boot are made so from now on. */
  async load(): Promise<readonly HexId[]> {
    await removeHalfWritten(this.#parts.path);
    const { boot, layers } = await this.#read();
    if (boot !== bootId()) return layers;
    for (const layer of layers) this.#layers.add(layer);
    if (layers.length > 0) this.#syncLater();
    return [];
  }

  /** Settles when the layer stands in the file; call it before the layer is committed. Those who come together are written together. */
  async add(layer: HexId): Promise<void> {
    this.#layers.add(layer);
    this.#wanted ??= this.#writing.then(async () => {
      this.#wanted = undefined;
      await (this.#writing = this.#write());
    });
    await this.#wanted;
    this.#syncLater();
  }

  /** What a boot that has ended left in the file was looked at. */
  async forget(): Promise<void> {
    await (this.#writing = this.#writing.then(() => this.#write()));
  }

  /** Makes everything durable now, if something is not. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#syncing;
    if (this.#layers.size > 0) await (this.#syncing = this.#sync());
  }

  #syncLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.flush().catch((error: unknown) => this.#parts.log.warn(`Storage could not be made durable: ${textOf(error)}`));
    }, SYNC_AFTER_MS).unref();
  }

  /** A layer that is added meanwhile may be committed before or after the sync: it waits for the next. */
  async #sync(): Promise<void> {
    const before = [...this.#layers];
    await this.#parts.sync();
    for (const layer of before) this.#layers.delete(layer);
    await (this.#writing = this.#writing.then(() => this.#write()));
  }

  async #write(): Promise<void> {
    if (this.#layers.size === 0) await rm(this.#parts.path, { force: true });
    else await writeFileAtomic(this.#parts.path, JSON.stringify({ boot: bootId(), layers: [...this.#layers] }));
  }

  async #read(): Promise<{ readonly boot: string; readonly layers: readonly HexId[] }> {
    try {
      const value: unknown = JSON.parse(await readFile(this.#parts.path, 'utf8'));
      if (typeof value === 'object' && value !== null && 'boot' in value && 'layers' in value && Array.isArray(value.layers)) {
        const layers: readonly unknown[] = value.layers;
        return { boot: String(value.boot), layers: layers.filter((layer) => typeof layer === 'string').filter(isHexId) };
      }
      this.#parts.log.warn(`${this.#parts.path} is not what was written there, and is passed over: crio check looks at all layers`);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT')
        this.#parts.log.warn(`${this.#parts.path} cannot be read, and is passed over: crio check looks at all layers (${textOf(error)})`);
    }
    return { boot: '', layers: [] };
  }
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}
