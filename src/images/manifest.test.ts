import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Failure, codeOf, textOf } from '../errors/index.ts';
import type { Digest } from '../ids/index.ts';
import { parseImageConfig, parseImageUser } from './image-config.ts';
import { type ImageIndex, type IndexEntry, MEDIA_TYPES, parseManifest } from './manifest.ts';
import { chooseInstance, hostPlatform } from './platform.ts';
import { checkImage } from './pull/check-image.ts';

const digest = (fill: string) => `sha256:${fill.repeat(64)}` as Digest;
const config = { mediaType: MEDIA_TYPES.ociConfig, digest: digest('c'), size: 7 };
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digest('1'), size: 9 };
const image = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [layer] };
const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] };
const parse = (document: unknown, contentType = '') => parseManifest(Buffer.from(JSON.stringify(document)), contentType);

describe('manifests', () => {
  it('[I43] of OCI and docker are read, with a media type of their own or of the answer', () => {
    const read = parse({ ...image, annotations: { __proto__x: '1', constructor: 'y' } });
    assert.equal(read.kind, 'image');
    assert.deepEqual(read.kind === 'image' && [...read.annotations.keys()], ['__proto__x', 'constructor']);
    const docker = { schemaVersion: 2, config: { ...config, mediaType: MEDIA_TYPES.dockerConfig }, layers: [] };
    assert.equal(parse(docker, MEDIA_TYPES.dockerManifest).mediaType, MEDIA_TYPES.dockerManifest);
    assert.equal(parse(docker, 'text/plain').mediaType, MEDIA_TYPES.ociManifest);
    assert.equal(parse(index).kind, 'index');
    assert.equal(parse({ schemaVersion: 2, manifests: [] }, 'application/json').kind, 'index');
  });

  it('[a42] must not mean two things', () => {
    const refused: readonly (readonly [unknown, string?])[] = [
      [{ ...image, manifests: [] }],
      [{ ...index, layers: [] }],
      [{ ...index, config }],
      [{ ...image, fsLayers: [] }],
      [image, MEDIA_TYPES.ociIndex],
      [image, MEDIA_TYPES.dockerManifest],
      [{ ...image, Layers: [] }],
      [{ ...image, schemaVersion: 3 }],
      [{ ...image, config: { ...config, digest: 'sha256:../../etc' } }],
      [{ ...image, layers: [{ ...layer, size: -1 }] }],
      [{ ...image, layers: [{ ...layer, size: 2 ** 60 }] }],
      [{ ...image, layers: {} }],
      [{ ...image, annotations: { a: 1 } }],
      [[]],
      [{}],
    ];
    for (const [document, contentType] of refused) {
      assert.throws(
        () => parse(document, contentType),
        (error) => codeOf(error) === 'INVALID_DOCUMENT',
        JSON.stringify(document),
      );
    }
    const texts = [
      `{"schemaVersion":2,"mediaType":"${MEDIA_TYPES.ociIndex}","manifests":[],"manifests":[]}`,
      `{"schemaVersion":2,"\\u006danifests":[],"manifests":[]}`,
      `\u{feff}${JSON.stringify(index)}`,
      '{"a":'.repeat(10_000),
      `${'['.repeat(10_000)}${']'.repeat(10_000)}`,
      '{"schemaVersion":2',
      '{"a":"',
    ];
    for (const text of texts)
      assert.throws(
        () => parseManifest(Buffer.from(text), ''),
        (error) => codeOf(error) === 'INVALID_DOCUMENT',
        text.slice(0, 60),
      );
    assert.throws(() => parseManifest(Buffer.from([0x7b, 0xff, 0x7d]), ''), /invalid UTF-8/);
    assert.throws(() => parseManifest(Buffer.alloc(4 * 1024 * 1024 + 1, 0x20), ''), /larger than/);
  });

  it('[a42] fail with a known error or are read, for any JSON', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        try {
          parseManifest(Buffer.from(text), '');
        } catch (error) {
          assert.ok(error instanceof Failure, String(error));
        }
      }),
    );
  });

  it('that are none of an image are told apart by name', () => {
    const artifact = parse({ ...image, artifactType: 'application/x' });
    assert.ok(artifact.kind === 'artifact');
    assert.deepEqual([artifact.mediaType, artifact.artifactType], [MEDIA_TYPES.ociManifest, 'application/x']);
    assert.deepEqual(
      artifact.layers.map((own) => own.digest),
      [layer.digest],
    );
    assert.equal(parse({ ...image, config: { ...config, mediaType: 'application/vnd.cncf.helm.config.v1+json' } }).kind, 'artifact');
    assert.equal(parse({ schemaVersion: 2, mediaType: 'application/x' }).kind, 'artifact');
  });
});

describe('the choice of a platform', () => {
  const entry = (architecture: string, fill: string, more: { variant?: string; os?: string; zstd?: boolean } = {}): IndexEntry => ({
    mediaType: MEDIA_TYPES.ociManifest,
    digest: digest(fill),
    size: 1,
    urls: [],
    platform: { architecture, os: more.os ?? 'linux', variant: more.variant ?? '' },
    annotations: new Map(more.zstd === true ? [['io.github.containers.compression.zstd', 'true']] : []),
  });
  const list = (entries: readonly IndexEntry[], mediaType: string = MEDIA_TYPES.ociIndex): ImageIndex => ({
    kind: 'index',
    mediaType,
    entries,
  });
  const chosen = (entries: readonly IndexEntry[], architecture: string, mediaType?: string) =>
    chooseInstance(list(entries, mediaType), hostPlatform(architecture), 'docker://x:latest').digest[7];

  it('[I44] takes the first of this machine, arm64 meaning arm64/v8', () => {
    const entries = [
      entry('amd64', '0', { os: 'windows' }),
      entry('arm64', '1', { variant: 'v8' }),
      entry('amd64', '2', { variant: 'v3' }),
      entry('amd64', '3'),
      entry('amd64', '4'),
    ];
    assert.equal(chosen(entries, 'amd64'), '3');
    assert.equal(chosen(entries, 'arm64'), '1');
    assert.equal(chosen([entry('arm64', '5')], 'arm64'), '5');
  });

  it('[I44] prefers zstd in an OCI index only, and entries with a platform', () => {
    const both = [entry('amd64', '1'), entry('amd64', '2', { zstd: true })];
    assert.equal(chosen(both, 'amd64'), '2');
    assert.equal(chosen(both, 'amd64', MEDIA_TYPES.dockerList), '1');
    const bare = { ...entry('amd64', '3'), platform: undefined };
    assert.equal(chosen([bare, entry('amd64', '4')], 'amd64'), '4');
    assert.equal(chosen([bare], 'amd64'), '3');
  });

  it('[I44] says what was wanted when there is none', () => {
    const text = (mediaType: string) => {
      try {
        chooseInstance(list([entry('s390x', '1')], mediaType), hostPlatform('amd64'), 'docker://x:latest');
      } catch (error) {
        return textOf(error);
      }
      return '';
    };
    const wanted = 'for architecture "amd64", variant "", OS "linux"';
    const start = 'choosing an image from manifest list docker://x:latest: no image found in';
    assert.equal(text(MEDIA_TYPES.dockerList), `${start} manifest list ${wanted}`);
    assert.equal(text(MEDIA_TYPES.ociIndex), `${start} image index ${wanted}`);
  });
});

describe('image configs', () => {
  const read = (document: unknown) => parseImageConfig(Buffer.from(JSON.stringify(document)));

  it('[a76] keep labels of any name, and never as properties', () => {
    const { labels } = parseImageConfig(Buffer.from('{"config":{"Labels":{"__proto__":"x","constructor":"y","toString":"z"}}}'));
    assert.deepEqual(
      [...labels],
      [
        ['__proto__', 'x'],
        ['constructor', 'y'],
        ['toString', 'z'],
      ],
    );
    assert.equal(({} as Record<string, unknown>)['x'], undefined);
  });

  it('are read whether fields are there, null or missing', () => {
    const full = read({
      architecture: 'amd64',
      os: 'linux',
      created: '2026-01-02T03:04:05.5Z',
      config: { Cmd: ['a'], Entrypoint: null, Env: ['A=b'], Volumes: { '/v': {} }, ExposedPorts: { '80/tcp': {} } },
      rootfs: { type: 'layers', diff_ids: [digest('d')] },
    });
    assert.deepEqual(
      [full.cmd, full.entrypoint, full.env, full.volumes, full.exposedPorts, full.diffIds],
      [['a'], [], ['A=b'], ['/v'], ['80/tcp'], [digest('d')]],
    );
    assert.equal(full.created, '2026-01-02T03:04:05.5Z');
    assert.equal(read({ created: 'yesterday' }).created, undefined);
    assert.throws(() => read({ config: { Env: [1] } }), /image config: Env/);
    assert.throws(() => read({ rootfs: { diff_ids: ['x'] } }), /invalid diff_id/);
  });

  it('[a32, I68] tell a uid exactly, or a name', () => {
    const users: readonly (readonly [string, object])[] = [
      ['', {}],
      ['0', { uid: 0 }],
      ['00', { uid: 0 }],
      ['+0', { uid: 0 }],
      ['1000:2000', { uid: 1000 }],
      [':5', {}],
      ['-1', { uid: -1 }],
      ['2147483648', { uid: 2147483648 }],
      ['4294967295', { uid: 4294967295 }],
      ['4294967296', { uid: 4294967296 }],
      ['9007199254740993', { username: '9007199254740993' }],
      ['1'.repeat(400), { username: '1'.repeat(400) }],
      ['0x0', { username: '0x0' }],
      [' 0', { username: ' 0' }],
      ['1e3', { username: '1e3' }],
      ['０', { username: '０' }],
      ['nobody:nogroup', { username: 'nobody' }],
    ];
    for (const [text, expected] of users) assert.deepEqual(parseImageUser(text), expected, text);
  });

  it('must agree with their manifest, and layers be of known kinds', () => {
    const manifest = parse(image);
    assert.ok(manifest.kind === 'image');
    const one = read({ rootfs: { diff_ids: [digest('d')] } });
    checkImage(manifest, one);
    assert.throws(() => checkImage(manifest, read({})), /image config names 0 layers, its manifest 1/);
    const withType = (mediaType: string) =>
      checkImage({ ...manifest, layers: [{ ...layer, mediaType, urls: ['https://x'], annotations: new Map() }] }, one);
    withType('application/vnd.oci.image.layer.v1.tar+gzip+encrypted');
    withType('application/vnd.docker.image.rootfs.foreign.diff.tar.gzip');
    withType('application/vnd.oci.image.layer.nondistributable.v1.tar+gzip+encrypted');
    for (const [type, text] of [
      ['application/vnd.docker.image.rootfs.foreign.diff', /unknown media type/],
      ['application/vnd.wasm.content.layer.v1+wasm+encrypted', /unknown media type/],
      ['application/vnd.in-toto+json', /unknown media type "application\/vnd.in-toto\+json"/],
    ] as const)
      assert.throws(() => withType(type), text);
  });
});
