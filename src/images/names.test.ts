import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Digest, HexId } from '../ids/index.ts';
import type { ImageRecord } from '../storage/index.ts';
import { byId, byReference, isPinned, shownNames } from './names.ts';
import { normaliseReference } from './reference.ts';

const digest = (fill: string) => `sha256:${fill.repeat(64)}` as Digest;

function record(id: string, names: readonly string[], more: Partial<ImageRecord> = {}): ImageRecord {
  return {
    id: id.padEnd(64, '0') as HexId,
    names,
    namesHistory: names,
    digest: digest('1'),
    layer: undefined,
    mappedLayers: [],
    metadata: '{}',
    bigDataNames: [],
    bigDataSizes: new Map(),
    created: '',
    flags: new Map(),
    bigDataDigests: new Map([
      [`manifest-${digest('1')}`, digest('1')],
      [`manifest-${digest('2')}`, digest('2')],
      ['manifest', digest('2')],
      [digest('9'), digest('9')],
    ]),
    ...more,
  };
}

describe('names of an image', () => {
  it('[I66] are its tags, and every repository with every digest, sorted', () => {
    const shown = shownNames(record('a', ['x.io/b:2', 'x.io/b:1', 'x.io/a@sha256:' + '1'.repeat(64), 'not a name']));
    assert.deepEqual(shown.repoTags, ['x.io/b:1', 'x.io/b:2']);
    assert.deepEqual(shown.repoDigests, [
      `x.io/a@${digest('1')}`,
      `x.io/a@${digest('2')}`,
      `x.io/b@${digest('1')}`,
      `x.io/b@${digest('2')}`,
    ]);
    assert.equal(shown.someName, 'x.io/b:2');
  });

  it('[I66, I72] are made up from the last one where none is left, in lists only', () => {
    const { repoTags, repoDigests, listRepoDigests, someName } = shownNames(record('a', [], { namesHistory: ['x.io/b:1', 'x.io/old:1'] }));
    assert.deepEqual([repoTags, repoDigests, someName], [[], [], undefined]);
    assert.deepEqual(listRepoDigests, [`x.io/b@${digest('1')}`]);
    assert.deepEqual(shownNames(record('a', [], { namesHistory: [] })).listRepoDigests, []);
  });
});

describe('looking an image up', () => {
  const records = [
    record('abc1', ['x.io/a:1']),
    record('abd2', ['x.io/b:1', 'y.io/b:1']),
    record('fff3', [], { digest: undefined, bigDataDigests: new Map() }),
  ];

  it('[I8] takes 64 hex characters, or three and more that fit one image', () => {
    assert.equal(byId(records, 'abc').record, records[0]);
    assert.deepEqual(byId(records, 'ab'), { isId: false, record: undefined });
    assert.deepEqual(byId([...records, record('abc9', [])], 'abc'), { isId: false, record: undefined });
    assert.deepEqual(byId(records, 'e'.repeat(64)), { isId: true, record: undefined });
    assert.deepEqual(byId(records, 'eee'), { isId: false, record: undefined });
  });

  it('finds a name, or a digest in a repository that the image has', () => {
    const find = (name: string) => byReference(records, normaliseReference(name));
    assert.equal(find('y.io/b:1'), records[1]);
    assert.equal(find('y.io/b:2'), undefined);
    assert.equal(find(`y.io/b@${digest('2')}`), records[1]);
    assert.equal(find(`x.io/a@${digest('1')}`), records[0]);
    assert.equal(find(`z.io/b@${digest('2')}`), undefined);
  });
});

describe('pinned images', () => {
  it('[I81] match whole names, prefixes and words, in any case', () => {
    const pinned = (pattern: string) => isPinned(['registry.k8s.io/Pause:3.10'], [pattern]);
    for (const pattern of ['registry.k8s.io/pause:3.10', 'REGISTRY.K8S.IO/*', 'k8s.io/pa*', '*PAUSE*', '*'])
      assert.ok(pinned(pattern), pattern);
    for (const pattern of ['pause:3.10', 'registry.k8s.io/pause', '*pause', 'other*']) assert.ok(!pinned(pattern), pattern);
  });
});
