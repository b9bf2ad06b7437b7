import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import { type JsonTable, asTable, field, textField } from '../json.ts';
import { type ImageReference, formatReference, repositoryOf } from '../reference.ts';

/** What registries.d says of one scope. */
interface Place {
  readonly lookaside: string;
  readonly attachments: boolean | undefined;
}

/** Where signatures of images lie: containers-registries.d(5) [I32]. */
export interface SignaturePlaces {
  readonly scopes: ReadonlyMap<string, Place>;
  readonly fallback: Place | undefined;
}

/**
 * Reads all `*.yaml` of the first directory that exists; read at each pull that looks for signatures. Fails for a file that
 * cannot be read or says what another has said.
 */
export async function loadSignaturePlaces(dirs: readonly string[]): Promise<SignaturePlaces> {
  const scopes = new Map<string, Place>();
  let fallback: Place | undefined;
  const saidBy = new Map<string, string>();
  const claim = (what: string, path: string) => {
    const other = saidBy.get(what);
    if (other !== undefined)
      throw new Failure('InvalidArgument', `parsing signature storage configuration: ${what} defined both in "${other}" and "${path}"`);
    saidBy.set(what, path);
  };
  for (const path of await filesIn(dirs)) {
    const table = await readYaml(path);
    const byDefault = field(table, 'default-docker');
    if (byDefault !== undefined) {
      claim('"default-docker"', path);
      fallback = placeOf(byDefault, path);
    }
    const docker = asTable(field(table, 'docker') ?? {}, `${path}: docker`);
    for (const scope of Object.keys(docker)) {
      claim(`"docker" namespace "${scope}"`, path);
      scopes.set(scope, placeOf(field(docker, scope), path));
    }
  }
  return { scopes, fallback };
}

/** The URL below which an image's signatures lie; '' where nothing says one. */
export function lookasideOf(places: SignaturePlaces, reference: ImageReference): string {
  for (const place of placesOf(places, reference)) if (place.lookaside !== '') return place.lookaside;
  return '';
}

/** Whether the registry is asked for sigstore signatures beside the image: only where it is said [I32]. */
export function usesAttachments(places: SignaturePlaces, reference: ImageReference): boolean {
  for (const place of placesOf(places, reference)) if (place.attachments !== undefined) return place.attachments;
  return false;
}

/** From the nearest scope: the reference itself, its repository and the paths above it, then the default. */
function* placesOf({ scopes, fallback }: SignaturePlaces, reference: ImageReference): Generator<Place> {
  const parts = repositoryOf(reference).split('/');
  const paths = parts.map((_, index) => parts.slice(0, parts.length - index).join('/'));
  for (const scope of [formatReference(reference), ...paths]) {
    const place = scopes.get(scope);
    if (place !== undefined) yield place;
  }
  if (fallback !== undefined) yield fallback;
}

function placeOf(value: unknown, path: string): Place {
  const table = asTable(value, path);
  const attachments = field(table, 'use-sigstore-attachments');
  if (attachments !== undefined && typeof attachments !== 'boolean')
    throw new Failure('InvalidArgument', `${path}: use-sigstore-attachments is no boolean`);
  // `sigstore` is the old name of a lookaside.
  return { lookaside: textField(table, 'lookaside', path) ?? textField(table, 'sigstore', path) ?? '', attachments };
}

async function readYaml(path: string): Promise<JsonTable> {
  try {
    const value: unknown = parse(await readFile(path, 'utf8'), { maxAliasCount: 0 });
    return asTable(value ?? {}, path);
  } catch (error) {
    throw wrap(`parsing ${path}`, error);
  }
}

async function filesIn(dirs: readonly string[]): Promise<readonly string[]> {
  for (const dir of dirs) {
    try {
      const names = await readdir(dir);
      return names
        .filter((name) => name.endsWith('.yaml'))
        .sort()
        .map((name) => join(dir, name));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw wrap('reading registries.d', error);
    }
  }
  return [];
}
