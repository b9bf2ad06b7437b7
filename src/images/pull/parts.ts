import { Failure } from '../../errors/index.ts';
import { type Digest, parseDigest } from '../../ids/index.ts';
import type { BlobParts, ByteRange, StagedLayer, Survey, UnpackedLayer } from '../../storage/index.ts';
import type { LayerKey } from '../decryption/index.ts';
import type { Descriptor } from '../manifest.ts';
import { type RegistryClient, blobStream } from '../registry/index.ts';
import type { ImageStore, Unpacker } from '../store.ts';
import { spaceOf, unpackLimits } from './limits.ts';
import type { Slot } from './slots.ts';

/** What containers/storage writes beside a zstd:chunked layer. */
const ANNOTATION = {
  tocDigest: 'io.github.containers.zstd-chunked.manifest-checksum',
  tocPosition: 'io.github.containers.zstd-chunked.manifest-position',
  tarSplitPosition: 'io.github.containers.zstd-chunked.tarsplit-position',
} as const;
/** The only kind of table of contents that there is. */
const TOC_TYPE = 1;

/** Bytes; both tables are held in memory while the layer is unpacked, the table of contents unpacked too. */
const MAX_COMPRESSED = 64 * 1024 * 1024;
const MAX_TOC = 64 * 1024 * 1024;
const MAX_TAR_SPLIT = 512 * 1024 * 1024;
/** Of the blob, at most so much is fetched in parts; else a single request is the better way, and the blob's digest is seen. */
const WORTH_IT = 0.9;

/** Where a blob has its tables. */
interface Tables {
  readonly toc: Place;
  readonly tocDigest: Digest;
  readonly tarSplit: Place;
  /** Both, in one request: the tables stand side by side. */
  readonly around: ByteRange;
}

interface Place extends ByteRange {
  /** What it unpacks to, in bytes. */
  readonly size: number;
}

export interface PartsOrder {
  readonly client: RegistryClient;
  readonly hardLinks: boolean;
  readonly onProgress: (offset: number) => void;
  readonly slot: Slot;
}

export interface PartsResult {
  readonly content: UnpackedLayer;
  readonly survey: Survey;
}

/**
 * Unpacks a zstd:chunked layer [J39]: fetches its table of contents and its tar-split, and of its files only those that no layer of
 * the store has. The result is proven by the diff ID, so it is the layer that the whole blob makes; what the blob is nobody saw, and
 * so the record will not name its digest. Fails for whatever is not as it should be: the layer is then to be fetched as a whole.
 */
export async function unpackInParts(
  layer: { readonly blob: Descriptor; readonly diffId: Digest; readonly key?: LayerKey | undefined },
  staged: StagedLayer,
  order: PartsOrder,
  { store, unpacker }: { readonly store: ImageStore; readonly unpacker: Unpacker },
  signal: AbortSignal,
): Promise<PartsResult> {
  const { blob, diffId, key } = layer;
  if (key !== undefined) throw unsuitable('it is encrypted');
  const { client, hardLinks, slot } = order;
  const tables = tablesOf(blob);
  const { toc, tocDigest, tarSplit, around } = tables;
  const bytes = Buffer.concat(await Array.fromAsync(slot.watch(blobStream(client, blob, signal, around))));
  const cut = ({ start, end }: Place) => Uint8Array.from(bytes.subarray(start - around.start, end - around.start));
  const parts: BlobParts = {
    toc: cut(toc),
    tocSize: toc.size,
    tocDigest,
    tarSplit: cut(tarSplit),
    tarSplitSize: tarSplit.size,
    blobSize: blob.size,
    layers: await store.layerContents(),
    hardLinks,
  };
  const surveyed = Promise.withResolvers<Survey>();
  async function* wanted(): AsyncGenerator<Buffer> {
    const { ranges } = await surveyed.promise;
    const size = ranges.reduce((sum, { start, end }) => sum + end - start, bytes.length);
    if (size > blob.size * WORTH_IT) throw unsuitable(`${size} of its ${blob.size} bytes would have to be fetched`);
    for (const range of ranges) yield* blobStream(client, blob, signal, range);
  }
  const content = await unpacker.unpack(slot.watch(wanted()), {
    diffDir: staged.diffDir,
    tarSplitPath: staged.tarSplitPath,
    blobDigest: blob.digest,
    diffId,
    parts,
    limits: unpackLimits(await spaceOf(staged.diffDir), blob.size),
    signal,
    onSurvey: surveyed.resolve,
    onProgress: (offset) => order.onProgress(bytes.length + offset),
  });
  return { content: { ...content, blobSize: bytes.length + content.blobSize }, survey: await surveyed.promise };
}

function tablesOf({ annotations, size }: Descriptor): Tables {
  const at = (name: keyof typeof ANNOTATION) => annotations.get(ANNOTATION[name]);
  const position = at('tocPosition');
  if (position === undefined) throw unsuitable('it has no table of contents');
  if (at('tarSplitPosition') === undefined) throw unsuitable('it has no tar-split');
  const [toc, type] = placeOf(position, size, MAX_TOC);
  const [tarSplit] = placeOf(at('tarSplitPosition'), size, MAX_TAR_SPLIT);
  const tocDigest = parseDigest(at('tocDigest') ?? '');
  const around = { start: Math.min(toc.start, tarSplit.start), end: Math.max(toc.end, tarSplit.end) };
  if (type !== TOC_TYPE || tocDigest === undefined) throw unsuitable('its table of contents is of an unknown kind');
  if (around.end - around.start > MAX_COMPRESSED) throw unsuitable(`its tables are larger than ${MAX_COMPRESSED} bytes`);
  return { toc, tocDigest, tarSplit, around };
}

/** `offset:length:unpacked length[:type]`. */
function placeOf(text = '', blobSize: number, max: number): [place: Place, type: number | undefined] {
  const [start = 0, length = 0, size = 0, type] = /^\d{1,15}(:\d{1,15}){2,3}$/.test(text) ? text.split(':').map(Number) : [];
  const end = start + length;
  if (length === 0 || size === 0 || end > blobSize) throw unsuitable(`${JSON.stringify(text.slice(0, 80))} is no place in it`);
  if (size > max) throw unsuitable(`one of its tables unpacks to ${size} bytes`);
  return [{ start, end, size }, type];
}

function unsuitable(why: string): Failure {
  return new Failure('Unknown', why, { code: 'UNSUITABLE' });
}
