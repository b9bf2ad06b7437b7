import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import type { LayerUnpacker, UnpackOptions } from '../../src/storage/index.ts';
import { type Member, archive } from '../fixtures/tar-writer.ts';
import { Workplace, reassembled, treeLines, unpack } from './trees.ts';

/** Unpacks an archive beside an outside that must not change, and shows what came of it. */
export async function inside(
  unpacker: LayerUnpacker,
  members: readonly (Member | Buffer)[],
  more: Partial<UnpackOptions> & { readonly rebuild?: boolean } = {},
): Promise<LayerResult> {
  const place = new Workplace();
  mkdirSync(place.path('outside'));
  writeFileSync(place.path('outside/secret'), 'secret', { mode: 0o600 });
  chmodSync(place.diff, 0o555);
  const outside = () => [...treeLines(place.path('outside')), ...readdirSync(place.dir)].filter((line) => line !== 'tar-split.gz');
  const before = outside();
  try {
    const layer = await unpack(unpacker, place, archive(...members), more);
    if (more.rebuild !== false) assert.equal(reassembled(place.tarSplit, place.diff), layer.diffId);
    return { place, error: undefined, [Symbol.dispose]: () => place[Symbol.dispose]() };
  } catch (error) {
    return { place, error: error as LayerResult['error'], [Symbol.dispose]: () => place[Symbol.dispose]() };
  } finally {
    assert.deepEqual(outside(), before, 'nothing outside the layer changed');
  }
}

export interface LayerResult extends Disposable {
  readonly place: Workplace;
  readonly error: { readonly kind: string; readonly code: string; readonly message: string } | undefined;
}

/** A path in the unpacked tree; throws what unpacking failed with. */
export function made({ place, error }: LayerResult, path = ''): string {
  if (error !== undefined) throw new Error(error.message, { cause: error });
  return place.path('diff', path);
}
