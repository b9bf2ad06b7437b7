import { Failure, textOf } from '../errors/index.ts';
import { type HexId, hexOf } from '../ids/index.ts';
import type { Logger } from '../log/index.ts';
import type { ArtifactStore, StoredArtifact } from '../storage/index.ts';
import type { Image } from './image.ts';
import { parseImageConfig } from './image-config.ts';
import { type Descriptor, parseManifest } from './manifest.ts';
import {
  type ImageReference,
  formatReference,
  isFullyQualified,
  parseReference,
  repositoryOf,
  tryNormaliseReference,
} from './reference.ts';

/** Annotations of a layer that name the file that it is, the first that is there [I60]. */
const FILE_NAMES = ['org.opencontainers.image.title', 'org.cncf.model.filepath'] as const;

/** A file of an artifact, as a container sees it. */
export interface ArtifactFile {
  /** Below the mount's place; no `..` in it, not absolute. */
  readonly path: string;
  /** Where it lies. */
  readonly blob: string;
}

const NO_CONFIG = parseImageConfig(Buffer.from('{}'));

/** OCI artifacts as CRI shows them and containers mount them [I53–I61]. */
export class Artifacts {
  readonly #store: ArtifactStore;
  readonly #log: Logger;

  constructor(store: ArtifactStore, log: Logger) {
    this.#store = store;
    this.#log = log;
  }

  /** All, as images without settings [I56, I64]; a store that cannot be read is told in the log. */
  async list(pinned: (names: readonly string[]) => boolean): Promise<readonly Image[]> {
    try {
      return (await this.#store.list()).map((artifact) => shown(artifact, pinned));
    } catch (error) {
      this.#log.warn(`Unable to list artifacts: ${textOf(error)}`);
      return [];
    }
  }

  async find(text: string, pinned: (names: readonly string[]) => boolean): Promise<Image | undefined> {
    const found = find(text, await this.#store.list());
    return found === undefined ? undefined : shown(found, pinned);
  }

  /** The artifact that additional stores have under a name: it is not pulled then [I55]. */
  async readOnly(reference: ImageReference): Promise<StoredArtifact | undefined> {
    const name = formatReference(reference);
    return (await this.#store.list().catch(() => [])).find((artifact) => artifact.isReadOnly && isNamed(artifact, reference, name));
  }

  /** Removes the artifact of exactly that name, digest or digest prefix; what is not there is done already [I77]. */
  async remove(text: string): Promise<void> {
    try {
      const found = find(text, await this.#store.listOwn());
      if (found === undefined) return;
      if (await this.#store.remove(found)) this.#log.info(`Removed artifact: ${found.name || found.digest}`);
    } catch (error) {
      this.#log.warn(`Unable to remove artifact: ${textOf(error)}`);
    }
  }

  /**
   * The files of an artifact below a path of it ('' for all), and its digest; undefined where there is no such artifact. Layers
   * without a name, or with one that would leave the mount's place, are left out with a warning [I60, I61].
   */
  async files(text: string, subPath: string): Promise<{ readonly id: HexId; readonly files: readonly ArtifactFile[] } | undefined> {
    const artifact = find(text, await this.#store.list());
    if (artifact === undefined) return undefined;
    const prefix = cleanPath(subPath);
    if (prefix === undefined) throw missingPath(subPath, text);
    const files: ArtifactFile[] = [];
    for (const layer of layersOf(artifact)) {
      const path = this.#pathOf(layer);
      if (path === undefined) continue;
      const below = prefix === '' ? path : path.startsWith(`${prefix}/`) ? path.slice(prefix.length + 1) : undefined;
      if (below !== undefined) files.push({ path: below, blob: `${artifact.root}/blobs/${layer.digest.replace(':', '/')}` });
    }
    if (files.length === 0 && prefix !== '') throw missingPath(subPath, text);
    return { id: hexOf(artifact.digest) as HexId, files };
  }

  #pathOf({ annotations, digest }: Descriptor): string | undefined {
    const said = FILE_NAMES.map((name) => annotations.get(name)).find((name) => name !== undefined && name !== '');
    if (said === undefined) {
      this.#log.warn('Unable to find name for artifact layer which makes it not mountable');
      return undefined;
    }
    const path = cleanPath(said);
    if (path === undefined || path === '')
      this.#log.warn(`Artifact layer ${digest} is not mounted: its name ${JSON.stringify(said.slice(0, 256))} is no path inside`);
    return path === '' ? undefined : path;
  }
}

/** By a name with its host, `name@digest`, or the beginning of a digest [I57, I58]. */
function find(text: string, all: readonly StoredArtifact[]): StoredArtifact | undefined {
  if (/^[0-9a-f]{3,64}$/.test(text)) {
    const matches = new Set(all.filter(({ digest }) => hexOf(digest).startsWith(text)).map(({ digest }) => digest));
    if (matches.size > 1)
      throw new Failure('InvalidArgument', `multiple artifacts found with matching digest: ${JSON.stringify([...matches].join(', '))}`);
    return all.find(({ digest }) => matches.has(digest));
  }
  const reference = qualifiedReference(text);
  if (reference === undefined) return undefined;
  const name = formatReference(reference);
  return all.find((artifact) => isNamed(artifact, reference, name));
}

function isNamed(artifact: StoredArtifact, reference: ImageReference, name: string): boolean {
  if (reference.digest === undefined) return artifact.name === name;
  const own = tryNormaliseReference(artifact.name);
  return artifact.digest === reference.digest && own !== undefined && repositoryOf(own) === repositoryOf(reference);
}

function qualifiedReference(text: string): ImageReference | undefined {
  try {
    return isFullyQualified(parseReference(text)) ? tryNormaliseReference(text) : undefined;
  } catch {
    return undefined;
  }
}

function layersOf(artifact: StoredArtifact): readonly Descriptor[] {
  const manifest = parseManifest(artifact.manifest, '');
  return manifest.kind === 'artifact' || manifest.kind === 'image' ? manifest.layers : [];
}

function shown(artifact: StoredArtifact, isPinned: (names: readonly string[]) => boolean): Image {
  const { digest, isReadOnly } = artifact;
  const reference = tryNormaliseReference(artifact.name);
  const known = artifact.name.includes('/') && reference !== undefined ? reference : undefined;
  const tagged = known === undefined ? 'unknown' : formatReference(known);
  const repository = known === undefined ? 'unknown' : repositoryOf(known);
  const repoDigests = [`${repository}@${digest}`];
  const names = artifact.name === '' ? [] : [artifact.name];
  const manifest = parsedOr(artifact);
  return {
    id: hexOf(digest) as HexId,
    names,
    previousNames: [],
    repoTags: known?.digest === undefined ? [tagged] : [],
    repoDigests,
    listRepoDigests: repoDigests,
    size: manifest.layers.reduce((sum, { size }) => sum + BigInt(size), 0n),
    user: {},
    pinned: isReadOnly || isPinned(names),
    created: '',
    config: NO_CONFIG,
    rawConfig: '{}',
    annotations: manifest.annotations,
    someName: names[0],
    manifestDigest: digest,
    topLayer: undefined,
    os: '',
    architecture: '',
  };
}

function parsedOr(artifact: StoredArtifact): { readonly layers: readonly Descriptor[]; readonly annotations: ReadonlyMap<string, string> } {
  try {
    const manifest = parseManifest(artifact.manifest, '');
    if (manifest.kind === 'artifact' || manifest.kind === 'image') return manifest;
  } catch {
    // Another tool's, of a form that we do not read: shown all the same.
  }
  return { layers: [], annotations: new Map() };
}

/** Components without `.` and empty ones; undefined for a path that is absolute or climbs, or that no kernel takes. */
function cleanPath(path: string): string | undefined {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  const isOdd = path.startsWith('/') || path.includes('\0') || parts.includes('..') || Buffer.byteLength(path) > 4095;
  return isOdd ? undefined : parts.join('/');
}

function missingPath(subPath: string, text: string): Failure {
  return new Failure('NotFound', `sub path ${JSON.stringify(subPath)} does not exist in OCI artifact volume ${JSON.stringify(text)}`);
}
