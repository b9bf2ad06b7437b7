import { type Codec, type MessageInput, encodeRepeatedEntry } from '../../wire/index.ts';

/** Items in one message of a Stream* call [D118]. */
const ITEMS_PER_MESSAGE = 3000;

/** What a list shows of an object, encoded when it last changed: answers are concatenations of entries. */
export class Entries<T extends { readonly revision: number }, W> {
  readonly #encoded = new WeakMap<T, { readonly revision: number; readonly bytes: Buffer }>();
  readonly #codec: Codec<W>;
  readonly #show: (item: T) => MessageInput<W>;

  constructor(codec: Codec<W>, show: (item: T) => MessageInput<W>) {
    this.#codec = codec;
    this.#show = show;
  }

  /** A List* answer, whose only field has number 1. */
  all(items: readonly T[]): Buffer {
    return Buffer.concat(items.map((item) => this.#of(item)));
  }

  /** The same as messages of a Stream* answer; none where there is nothing to show. */
  *inMessages(items: readonly T[]): Generator<Buffer> {
    for (let from = 0; from < items.length; from += ITEMS_PER_MESSAGE) yield this.all(items.slice(from, from + ITEMS_PER_MESSAGE));
  }

  #of(item: T): Buffer {
    const known = this.#encoded.get(item);
    if (known !== undefined && known.revision === item.revision) return known.bytes;
    const bytes = encodeRepeatedEntry(1, this.#codec, this.#show(item));
    this.#encoded.set(item, { revision: item.revision, bytes });
    return bytes;
  }
}
