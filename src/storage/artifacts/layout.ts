import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, codeOf, textOf } from '../../errors/index.ts';
import { parseExactJson } from '../../files/index.ts';
import { type Digest, algorithmOf, hexOf, parseDigest } from '../../ids/index.ts';
import type { Json } from '../types.ts';

/** The annotation of an index entry that holds an artifact's name. */
export const NAME_ANNOTATION = 'org.opencontainers.image.ref.name';

/** One entry of a layout's `index.json`, as it stands there. */
export interface LayoutEntry {
  readonly digest: Digest;
  /** '' for one without a name. */
  readonly name: string;
  readonly json: { readonly [key: string]: Json };
}

/** `index.json` of an OCI image layout; what is not understood in it stays as it is. */
export interface LayoutIndex {
  readonly document: { readonly [key: string]: Json };
  readonly entries: readonly LayoutEntry[];
  /** Entries that are no descriptors. */
  readonly others: readonly Json[];
}

const EMPTY: LayoutIndex = { document: { schemaVersion: 2 }, entries: [], others: [] };

/** A layout that is not there is an empty one. Fails with FailedPrecondition for an index that cannot be read. */
export async function readIndex(root: string): Promise<LayoutIndex> {
  const path = join(root, 'index.json');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return EMPTY;
    throw error;
  }
  try {
    const document = asObject(parseExactJson(text) as Json);
    const manifests = document?.['manifests'] ?? [];
    if (document === undefined || !Array.isArray(manifests)) throw new Error('it is no index of an OCI layout');
    const all = (manifests as readonly Json[]).map((json) => entryOf(json) ?? json);
    const entries = all.filter((entry): entry is LayoutEntry => isEntry(entry));
    return { document, entries, others: all.filter((entry) => !isEntry(entry)) as Json[] };
  } catch (error) {
    throw new Failure('FailedPrecondition', `artifacts in ${path} cannot be read: ${textOf(error)}`, {
      cause: error,
      advice: `Restore ${path}, or remove ${root} and pull the artifacts again.`,
    });
  }
}

export function blobPath(root: string, digest: Digest): string {
  return join(root, 'blobs', algorithmOf(digest), hexOf(digest));
}

function entryOf(json: Json): LayoutEntry | undefined {
  const table = asObject(json);
  const digest = typeof table?.['digest'] === 'string' ? parseDigest(table['digest']) : undefined;
  if (table === undefined || digest === undefined) return undefined;
  const name = asObject(table['annotations'] ?? null)?.[NAME_ANNOTATION];
  return { digest, name: typeof name === 'string' ? name : '', json: table };
}

function isEntry(value: LayoutEntry | Json): value is LayoutEntry {
  return typeof value === 'object' && value !== null && 'json' in value && 'name' in value;
}

function asObject(value: Json): { readonly [key: string]: Json } | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as { readonly [key: string]: Json }) : undefined;
}
