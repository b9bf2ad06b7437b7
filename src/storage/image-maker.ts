import { Failure } from '../errors/index.ts';
import type { HexId } from '../ids/index.ts';
import { createImage, readBigData, setImageNames, writeBigData } from './images.ts';
import type { Ledger } from './ledger.ts';
import type { Places } from './places.ts';
import type { ImageRecord, NewImage } from './types.ts';

type ImageData = Pick<NewImage, 'bigData' | 'metadata'>;

/** Makes and renames images; one that lies below another root gets a record of its own where images are made, so that it can be changed. */
export class ImageMaker {
  readonly #ledger: Ledger;
  readonly #places: Places;

  constructor(ledger: Ledger, places: Places) {
    this.#ledger = ledger;
    this.#places = places;
  }

  /** See Store.createImage. */
  async create(image: NewImage): Promise<ImageRecord> {
    const foreign = await this.#unchangeable(image.id);
    if (foreign === undefined || foreign.layer !== image.layer) return await this.#record(image);
    const names = [...image.names, ...foreign.names];
    return await this.#record({ ...image, names, ...(await this.#dataOf(foreign, image)) });
  }

  /** See Store.setImageNames. */
  async setNames(id: HexId, names: readonly string[]): Promise<void> {
    const foreign = await this.#unchangeable(id);
    // To take a name away is a way out of a full disk, too.
    if (foreign === undefined) return await this.#ledger.change('remove', (records) => setImageNames(records, id, names));
    const digest = foreign.digest ?? foreign.bigDataDigests.get('manifest');
    if (digest === undefined) throw new Failure('FailedPrecondition', `image ${id} has no manifest: its names cannot be changed`);
    const none = { id, names, layer: foreign.layer, digest, created: foreign.created, metadata: '{}', bigData: [] };
    await this.#record({ ...none, ...(await this.#dataOf(foreign, none)) });
  }

  async #record(image: NewImage): Promise<ImageRecord> {
    const { imageRoot, imageStaging } = this.#places;
    const staged = imageStaging.records.addition();
    try {
      await writeBigData(staged, image.bigData);
      return await this.#ledger.change('make', (records) => createImage(records, imageRoot, image, staged));
    } finally {
      void imageStaging.remove(staged);
    }
  }

  /** An image that lies only below another root. */
  async #unchangeable(id: HexId): Promise<ImageRecord | undefined> {
    return await this.#ledger.read('images', ({ images }) => (images.changeable(id) === undefined ? images.get(id) : undefined));
  }

  /** An image's data and what another record of it has besides. */
  async #dataOf(other: ImageRecord, { bigData, metadata }: ImageData): Promise<ImageData> {
    const root = await this.#ledger.read('images', ({ images }) => images.rootOf(other.id));
    const more = other.bigDataNames.filter((key) => !bigData.some((item) => item.key === key));
    const items = more.map(async (key) => {
      const digest = other.bigDataDigests.get(key);
      const data = await readBigData(root ?? this.#places.imageRoot, other.id, key);
      return { key, data, ...(digest === undefined ? {} : { digest }) };
    });
    return { bigData: [...bigData, ...(await Promise.all(items))], metadata: metadata === '{}' ? other.metadata : metadata };
  }
}
