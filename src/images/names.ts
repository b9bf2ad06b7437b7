import type { Digest } from '../ids/index.ts';
import type { ImageRecord } from '../storage/index.ts';
import { type ImageReference, formatReference, repositoryOf, tryNormaliseReference, withDigest } from './reference.ts';

/** Shortest id prefix that is taken as one [I8]. */
const MIN_ID_PREFIX = 3;

/** Every digest that an image is known by: the record's own first, then those of its manifests. */
export function digestsOf(record: ImageRecord): readonly Digest[] {
  const found = new Set<Digest>(record.digest === undefined ? [] : [record.digest]);
  for (const [key, digest] of record.bigDataDigests) if (key.startsWith('manifest')) found.add(digest);
  return [...found];
}

/** repo_tags and repo_digests as CRI shows them [I66, I72]. */
export interface ShownNames {
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly listRepoDigests: readonly string[];
  /** The first tag, else the first digest name. */
  readonly someName: string | undefined;
}

/**
 * Tags as stored; digests are every known repository combined with every known digest. An image without a name
 * is listed under the name it had last, cut at its first colon as the reference does [I66, I72].
 */
export function shownNames(record: ImageRecord): ShownNames {
  const references = record.names.flatMap((name) => tryNormaliseReference(name) ?? []);
  const digests = digestsOf(record);
  const repoDigests = new Set(references.filter(({ digest }) => digest !== undefined).map(formatReference));
  for (const reference of references) for (const digest of digests) repoDigests.add(formatReference(withDigest(reference, digest)));
  const tags = references.filter(({ tag }) => tag !== undefined).map(formatReference);
  const sorted = [...repoDigests].sort();
  const previous = record.namesHistory[0]?.split(':', 1)[0] ?? '';
  const madeUp = previous !== '' && digests[0] !== undefined ? [`${previous}@${digests[0]}`] : [];
  const someName = tags[0] ?? references.map(formatReference)[0];
  return { repoTags: tags.sort(), repoDigests: sorted, listRepoDigests: sorted.length > 0 ? sorted : madeUp, someName };
}

/** The image that a text names by id: 64 hex characters, or the prefix of one image's id [I8]. */
export function byId(records: readonly ImageRecord[], text: string): { readonly isId: boolean; readonly record: ImageRecord | undefined } {
  if (/^[0-9a-f]{64}$/.test(text)) return { isId: true, record: records.find(({ id }) => id === text) };
  const matches = text.length < MIN_ID_PREFIX ? [] : records.filter(({ id }) => id.startsWith(text));
  return { isId: matches.length === 1, record: matches.length === 1 ? matches[0] : undefined };
}

/** The image of a name: the one that holds it, or of the same repository with that digest. */
export function byReference(records: readonly ImageRecord[], reference: ImageReference): ImageRecord | undefined {
  const name = formatReference(reference);
  const exact = records.find(({ names }) => names.includes(name));
  const { digest } = reference;
  if (exact !== undefined || digest === undefined) return exact;
  const repository = repositoryOf(reference);
  const isOfRepository = (stored: string) => {
    const parsed = tryNormaliseReference(stored);
    return parsed !== undefined && repositoryOf(parsed) === repository;
  };
  return records.find((record) => digestsOf(record).includes(digest) && record.names.some(isOfRepository));
}

/**
 * Whether a stored name matches `pinned_images`: `*word*` anywhere, `prefix*` anywhere too, else the whole name;
 * in any case of letters [I81].
 */
export function isPinned(names: readonly string[], patterns: readonly string[]): boolean {
  const lowered = names.map((name) => name.toLowerCase());
  return patterns.some((pattern) => {
    const wanted = pattern.toLowerCase();
    if (wanted.endsWith('*')) {
      const part = wanted.slice(wanted.startsWith('*') ? 1 : 0, -1);
      return lowered.some((name) => name.includes(part));
    }
    return lowered.includes(wanted);
  });
}
