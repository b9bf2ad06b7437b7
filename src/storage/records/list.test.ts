import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import type { HexId } from '../../ids/index.ts';
import { containerFormat, imageFormat, layerFormat, mountFormat } from './formats.ts';
import { RecordList, splitArray } from './list.ts';

const [a, b] = ['a'.repeat(64) as HexId, 'b'.repeat(64) as HexId];
const digest = `sha256:${'c'.repeat(64)}`;

// Shapes of a recorded CRI-O 1.37 node, with every key of the format set at least once.
const LAYERS =
  `[{"id":"${a}","created":"2026-11-23T17:31:00.096757879Z","compressed-diff-digest":"${digest}","compressed-size":4325319,"diff-digest":"${digest}","diff-size":8960000,"compression":2,"uidset":[0,1000],"gidset":[0]},{"id":"${b}","names":["k8s_POD_web_default_1_0-layer"],"parent":"${a}","metadata":"<&>","mountlabel":"system_u:object_r:container_file_t:s0:c1,c2","created":"2026-11-23T17:31:00.508014406Z","toc-digest":"${digest}","flags":{"expected-layer-diffid":"${digest}","incomplete":true},"uidmap":[{"container_id":0,"host_id":100000,"size":65536}],"gidmap":[{"container_id":0,"host_id":100000,"size":65536}],"big-data-names":["zstd-chunked-manifest"]}]`.replace(
    '<&>',
    '\\u003c\\u0026\\u003e',
  );
const CONTAINERS = `[{"id":"${a}","names":["k8s_POD_web_default_1_0","k8s_web_default_1_0"],"image":"${b}","layer":"${b}","metadata":"{\\"pod-name\\":\\"k8s_web\\",\\"created-at\\":1795455060,\\"pod\\":true}","created":"2026-11-23T17:31:00.512803557Z","flags":{"MountLabel":"","ProcessLabel":"","Volatile":true}}]`;
const IMAGES = `[{"id":"${a}","digest":"${digest}","names":["registry.k8s.io/pause:3.10.1"],"names-history":["registry.k8s.io/pause:3.10.1"],"layer":"${b}","mapped-layers":["${a}"],"metadata":"{}","big-data-names":["${digest}","manifest"],"big-data-sizes":{"manifest":348,"${digest}":9007199254740993},"big-data-digests":{"manifest":"${digest}","${digest}":"${digest}"},"created":"2026-11-23T16:01:53.57756875Z"}]`;

/** Reads, rewrites each record from its fields alone, and writes. */
function rewritten<R extends { readonly id: HexId }>(list: RecordList<R>, json: string): string {
  list.parse(json);
  for (const record of list.values()) list.set({ ...record });
  return list.stringify();
}

test('[J12] records with every key set come back byte for byte when they are rewritten from their fields', () => {
  assert.equal(rewritten(new RecordList(layerFormat), LAYERS), LAYERS);
  assert.equal(rewritten(new RecordList(containerFormat), CONTAINERS), CONTAINERS);
  assert.equal(rewritten(new RecordList(imageFormat), IMAGES), IMAGES);
});

test("[J12] the recorded CRI-O node's own files come back byte for byte", () => {
  const recorded = (path: string) => readFileSync(new URL(`../../../test/fixtures/takeover/fs/${path}`, import.meta.url), 'utf8');
  const graph = 'var/lib/containers/storage';
  for (const file of ['layers', 'volatile-layers']) {
    const json = recorded(`${graph}/overlay-layers/${file}.json`);
    assert.equal(rewritten(new RecordList(layerFormat), json), json);
  }
  const images = recorded(`${graph}/overlay-images/images.json`);
  assert.equal(rewritten(new RecordList(imageFormat), images), images);
  const containers = recorded(`${graph}/overlay-containers/volatile-containers.json`);
  assert.equal(rewritten(new RecordList(containerFormat), containers), containers);
  const mounts = recorded('run/containers/storage/overlay-layers/mountpoints.json');
  assert.equal(rewritten(new RecordList(mountFormat), mounts), mounts);
});

test('[J12] missing and empty files are empty lists; a list without records is []', () => {
  const list = new RecordList(layerFormat);
  for (const json of ['', '[]', ' [ ] \n', 'null']) {
    list.parse(json);
    assert.deepEqual([...list.values()], []);
    assert.equal(list.stringify(), '[]');
  }
});

test('unknown keys, their exact numbers and prototype names survive the change of a record', () => {
  const list = new RecordList(containerFormat);
  const extra = '"future":{"big":12345678901234567890,"__proto__":{"x":1}},"constructor":[1]';
  list.parse(`[{"id":"${a}","image":"","layer":"${b}","created":"2026-01-01T00:00:00Z",${extra}}]`);
  const record = list.get(a);
  assert.ok(record);
  list.set({ ...record, metadata: 'm' });
  assert.equal(list.stringify(), `[{"id":"${a}","image":"","layer":"${b}","metadata":"m","created":"2026-01-01T00:00:00Z",${extra}}]`);
  assert.equal(({} as { x?: number }).x, undefined);
});

test('what is no record of ours is kept as it is and shown to nobody', () => {
  const odd = `{"id":"../../etc","layer":1.50}`;
  const layer = `{"id":"${a}","created":"2026-01-01T00:00:00Z"}`;
  const list = new RecordList(layerFormat);
  list.parse(`[${odd}, 7, ${layer}, ${layer}]`);
  assert.equal([...list.values()].length, 1);
  assert.equal(list.strangers, 3);
  assert.equal(list.stringify(), `[${odd},7,${layer},${layer}]`);
});

test('a value of the wrong form stays untouched until its key is set', () => {
  const list = new RecordList(layerFormat);
  list.parse(`[{"id":"${a}","created":"2026-01-01T00:00:00Z","diff-digest":"md5:1","names":[1]}]`);
  const record = list.get(a);
  assert.ok(record);
  assert.deepEqual(record.names, []);
  list.set({ ...record, names: ['n'] });
  assert.equal(list.stringify(), `[{"id":"${a}","names":["n"],"created":"2026-01-01T00:00:00Z","diff-digest":"md5:1"}]`);
});

test('any JSON array splits into its elements; broken text throws and changes nothing', () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), fc.constantFrom(undefined, 1), (values, indent) => {
      const json = JSON.stringify(values, undefined, indent);
      assert.deepEqual(
        splitArray(json).map((element) => JSON.parse(element) as unknown),
        JSON.parse(json),
      );
    }),
  );
  const list = new RecordList(layerFormat);
  list.parse(LAYERS);
  for (const broken of ['{', '[{]', '["', '[1,', '[{"id":}]', '{}']) assert.throws(() => list.parse(broken), SyntaxError, broken);
  assert.equal(list.stringify(), LAYERS);
});
