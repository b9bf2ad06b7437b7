import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isHexId } from '../../../src/ids/index.ts';
import { bigDataFileName } from '../../../src/storage/names.ts';
import { G, R } from './fixture.ts';

interface Row {
  readonly id: string;
  readonly parent?: string;
  readonly layer?: string;
  readonly image?: string;
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly 'big-data-sizes'?: Readonly<Record<string, number>>;
}

function rows(file: string): Row[] {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Row[]) : [];
}

/**
 * Reads a store as another tool would, from the files alone, and asserts that everything a record names is there,
 * and, unless `debris` is allowed, that nothing else is. Answers the ids.
 */
export function checkStore(debris = false): { layers: Set<string>; images: Set<string>; containers: Set<string> } {
  const layers = [...rows(join(G, 'overlay-layers/layers.json')), ...rows(join(G, 'overlay-layers/volatile-layers.json'))];
  const images = rows(join(G, 'overlay-images/images.json'));
  const containers = rows(join(G, 'overlay-containers/volatile-containers.json'));
  const ids = (list: readonly Row[]) => new Set(list.map((row) => row.id));
  const known = { layers: ids(layers), images: ids(images), containers: ids(containers) };
  assert.equal(known.layers.size, layers.length, 'no layer twice');
  for (const layer of layers) {
    assert.equal(layer.flags?.['incomplete'], undefined, `layer ${layer.id} is complete`);
    if (layer.parent !== undefined) assert.ok(known.layers.has(layer.parent), `parent of layer ${layer.id}`);
    const directory = join(G, 'overlay', layer.id);
    for (const name of ['diff', 'work', 'merged', 'link', layer.parent === undefined ? 'empty' : 'lower'])
      assert.ok(existsSync(join(directory, name)), `${directory}/${name}`);
    const link = readFileSync(join(directory, 'link'), 'utf8');
    assert.equal(statSync(join(G, 'overlay/l', link)).ino, statSync(join(directory, 'diff')).ino);
    if (layer.parent !== undefined)
      for (const lower of readFileSync(join(directory, 'lower'), 'utf8').split(':'))
        assert.ok(existsSync(join(G, 'overlay', lower)), lower);
  }
  for (const image of images) {
    if (image.layer !== undefined) assert.ok(known.layers.has(image.layer), `layer of image ${image.id}`);
    for (const [key, size] of Object.entries(image['big-data-sizes'] ?? {}))
      assert.equal(statSync(join(G, 'overlay-images', image.id, bigDataFileName(key))).size, size);
  }
  for (const container of containers) {
    assert.ok(known.layers.has(container.layer ?? ''), `layer of container ${container.id}`);
    assert.ok(known.images.has(container.image ?? ''), `image of container ${container.id}`);
    for (const root of [G, R]) assert.ok(existsSync(join(root, 'overlay-containers', container.id, 'userdata')));
  }
  if (!debris) noDebris(known);
  return known;
}

function noDebris(known: { layers: Set<string>; images: Set<string>; containers: Set<string> }): void {
  const hexIn = (...path: string[]) => (existsSync(join(...path)) ? readdirSync(join(...path)).filter(isHexId) : []);
  assert.deepEqual(new Set(hexIn(G, 'overlay')), known.layers);
  assert.equal(readdirSync(join(G, 'overlay/l')).length, known.layers.size, 'one link a layer');
  assert.deepEqual(new Set(hexIn(G, 'overlay-images')), known.images);
  assert.deepEqual(new Set(hexIn(G, 'overlay-containers')), known.containers);
  assert.deepEqual(new Set(hexIn(R, 'overlay-containers')), known.containers);
  for (const directory of [join(G, 'overlay/staging'), join(G, 'overlay/tempdirs'), join(G, 'overlay-layers/tmp')])
    if (existsSync(directory)) assert.deepEqual(readdirSync(directory), [], directory);
  const temporary = ['overlay-layers', 'overlay-images', 'overlay-containers'].flatMap((name) => readdirSync(join(G, name)));
  assert.deepEqual(
    temporary.filter((name) => name.startsWith('.tmp-')),
    [],
  );
}
