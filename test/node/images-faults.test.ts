import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { codeOf, kindOf, textOf } from '../../src/errors/index.ts';
import type { PullOptions, PullProgress } from '../../src/images/index.ts';
import { ImageFixture } from '../harness/image-fixture.ts';
import { layerOf } from '../harness/images.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { type Descriptor, OCI } from '../harness/registry-storage.ts';
import { StandInRegistry, refuse, sendBlob } from '../harness/stand-in-registry.ts';

inPrivateNetwork(import.meta.filename);

const fixture = new ImageFixture();
const registry = new StandInRegistry(join(fixture.dir, 'registry'));
let layer: Buffer = Buffer.alloc(0);
/** The documents of the image `app`, of one layer. */
let app: { config: Descriptor; layers: [Descriptor] };

before(async () => {
  await fixture.start();
  await registry.start();
  layer = await layerOf({ file: Buffer.from(Array.from({ length: 400_000 }, (_, index) => (index * 2654435761) >>> 13)) });
  app = JSON.parse(
    registry.storage.putImage('app', 'latest', { layers: [{ tar: layer }], config: { Env: ['A=b'] } }).bytes.toString('utf8'),
  ) as typeof app;
  await fixture.configure({}, `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`);
});

afterEach(async () => {
  await fixture.nothingStaged();
  await fixture.clear();
  registry.forget();
  fixture.renew();
});

after(async () => {
  await registry.stop();
  await fixture.end();
});

const pull = (name = 'app', options: PullOptions = {}) => fixture.images.pull(`${registry.host}/${name}`, options);

async function failure(work: Promise<unknown>): Promise<{ text: string; kind: string; code: string | undefined; error: unknown }> {
  try {
    await work;
  } catch (error) {
    return { text: textOf(error), kind: kindOf(error), code: codeOf(error), error };
  }
  throw new Error('it did not fail');
}

describe('a registry that lies', () => {
  /** An image like `app` in whose manifest something is changed. */
  const lie = (name: string, change: (manifest: typeof app) => void) => {
    registry.storage.putImage(name, 'latest', { layers: [{ tar: layer }] });
    const manifest = structuredClone(app);
    change(manifest);
    registry.storage.putManifest(name, OCI.manifest, { schemaVersion: 2, mediaType: OCI.manifest, ...manifest }, 'latest');
  };

  it('[I48] about a layer: refused by its digest, nothing stays', async () => {
    lie('lies-layer', (manifest) => {
      manifest.layers[0] = registry.storage.putBlob(
        'lies-layer',
        app.layers[0].mediaType,
        Buffer.from('other'),
        `sha256:${'7'.repeat(64)}`,
      );
    });
    const { text, kind } = await failure(pull('lies-layer'));
    assert.match(text, /blob digest mismatch/);
    assert.equal(kind, 'Unknown');
    assert.deepEqual([fixture.records(), fixture.layers()], [[], []]);
  });

  it('[I48] about a diff ID', async () => {
    const wrong = { rootfs: { type: 'layers', diff_ids: [`sha256:${'8'.repeat(64)}`] } };
    registry.storage.putImage('lies-diff', 'latest', { layers: [{ tar: layer }], more: wrong });
    assert.match((await failure(pull('lies-diff'))).text, /does not match config's DiffID "sha256:8{64}"/);
    assert.deepEqual(fixture.layers(), []);
  });

  it('[I46] about a manifest that is named by its digest', async () => {
    const truth = registry.storage.putImage('lies-manifest', 'latest', { layers: [] });
    registry.intercept = ({ path }, response) => {
      if (!path.includes('/manifests/')) return false;
      response.writeHead(200, { 'Content-Type': OCI.manifest }).end(`${truth.bytes.toString('utf8')} `);
      return true;
    };
    const { text } = await failure(pull(`lies-manifest@${truth.digest}`));
    assert.ok(text.includes(`Manifest to be saved does not match expected digest ${truth.digest}`), text);
  });

  it('[I47, I48] about the config, whose digest is the image', async () => {
    lie('lies-config', (manifest) => {
      manifest.config = registry.storage.putBlob('lies-config', OCI.config, Buffer.from('{}'), `sha256:${'9'.repeat(64)}`);
    });
    assert.match((await failure(pull('lies-config'))).text, /reading blob sha256:9{64}: blob digest mismatch/);
  });

  it('[I48] about a size: no byte more than the manifest says is taken', async () => {
    lie('lies-size', (manifest) => (manifest.layers[0] = { ...manifest.layers[0], size: 10 }));
    assert.match((await failure(pull('lies-size'))).text, /blob size mismatch/);
  });

  it('[I42] by documents beyond all bounds', async () => {
    registry.intercept = ({ path }, response) => {
      if (!path.includes('/manifests/')) return false;
      response.writeHead(200, { 'Content-Type': OCI.manifest }).end(Buffer.alloc(5 * 1024 * 1024, 0x20));
      return true;
    };
    assert.match((await failure(pull())).text, /exceeded maximum allowed size of 4194304 bytes/);
  });
});

it('[I9, I47] digests of other algorithms count all the same, and the config that they name is the image', async () => {
  const named = (bytes: Buffer) => `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
  const config = registry.blob(app.config.digest);
  const document = { schemaVersion: 2, mediaType: OCI.manifest, config: { ...app.config, digest: named(config) } };
  const manifest = Buffer.from(
    JSON.stringify({ ...document, layers: [{ ...app.layers[0], digest: named(registry.blob(app.layers[0].digest)) }] }),
  );
  const all = new Map([config, registry.blob(app.layers[0].digest), manifest].map((bytes) => [named(bytes), bytes]));
  registry.intercept = ({ path }, response) => {
    const bytes = all.get(path.split('/').at(-1) ?? '');
    response.writeHead(bytes === undefined ? 404 : 200, path.includes('/manifests/') ? { 'Content-Type': OCI.manifest } : {}).end(bytes);
    return true;
  };
  const { imageId } = await pull(`app@${named(manifest)}`);
  assert.equal((await fixture.images.find(imageId))?.config.env[0], 'A=b');
  all.set(named(manifest), Buffer.from(`${manifest.toString('utf8')} `));
  assert.match((await failure(pull(`app@${named(manifest)}`))).text, /Manifest to be saved does not match expected digest sha512:/);
});

describe('a connection that breaks', () => {
  /** The layer's blob is sent by `send`, which is told how often that has been. */
  const sendLayer = (send: (times: number, bytes: Buffer, ...rest: Parameters<typeof registry.intercept>) => void) => {
    const { digest } = app.layers[0];
    const seen: (string | undefined)[] = [];
    registry.intercept = (request, response) => {
      if (!request.path.endsWith(digest)) return false;
      seen.push(request.headers.range);
      send(seen.length, registry.blob(digest), request, response);
      return true;
    };
    return seen;
  };

  it('[I23] is taken up again where it broke', async () => {
    const ranges = sendLayer((times, bytes, { headers }, response) =>
      sendBlob(response, bytes, headers.range, times === 1 ? bytes.length >> 1 : undefined),
    );
    await pull();
    assert.equal(ranges.length, 2);
    assert.match(ranges[1] ?? '', /^bytes=[1-9]\d*-$/);
    assert.match(fixture.logged, /reconnecting after \d+ bytes/);
  });

  it('[I23] is read over from the start where the registry knows no ranges', async () => {
    const ranges = sendLayer((times, bytes, _, response) =>
      sendBlob(response, bytes, undefined, times === 1 ? bytes.length >> 1 : undefined),
    );
    await pull();
    assert.equal(ranges.length, 2);
  });

  it('[I23] after its last byte has nothing left to ask for', async () => {
    const ranges = sendLayer((_, bytes, _request, response) => {
      response.writeHead(200); // In chunks: the end is a message of its own.
      response.write(bytes, () => response.destroy());
    });
    await pull();
    assert.deepEqual(ranges, [undefined]);
  });

  it('[I23] and never gets any further is given up', async () => {
    const ranges = sendLayer((times, bytes, { headers }, response) => sendBlob(response, bytes, headers.range, times === 1 ? 1000 : 0));
    assert.ok((await failure(pull())).text.includes(`reading blob ${app.layers[0].digest}`));
    assert.ok(ranges.length <= 3, String(ranges.length));
    assert.deepEqual(fixture.records(), []);
  });

  it('[I5] before it was there is the registry being unavailable', async () => {
    const gone = '127.0.0.1:1';
    const { text, kind } = await failure(fixture.images.pull(`${gone}/app`));
    const dial = `Get "https://${gone}/v2/app/manifests/latest": dial tcp ${gone}: connect: connection refused`;
    const told = `initializing source docker://${gone}/app:latest: pinging container registry ${gone}: ${dial}`;
    assert.equal(text, `RegistryUnavailable: unable to pull image: ${told}`);
    assert.equal(kind, 'Unknown');
  });
});

describe('a registry that falls silent', () => {
  /** Sends the layer's header, some bytes, and then next to nothing. */
  const fallSilent = (bytes: number, trickleMs: number | undefined) => {
    registry.intercept = ({ path, headers }, response) => {
      if (!path.endsWith(app.layers[0].digest)) return false;
      const { size } = app.layers[0];
      const range = { 'Content-Range': `bytes ${headers.range?.slice(6)}${size - 1}/${size}` };
      response.writeHead(headers.range === undefined ? 200 : 206, headers.range === undefined ? {} : range);
      response.flushHeaders();
      response.write(Buffer.alloc(bytes));
      const timer = trickleMs === undefined ? undefined : setInterval(() => response.write('x'), trickleMs);
      response.once('close', () => clearInterval(timer));
      return true;
    };
  };

  for (const [name, trickleMs] of [
    ['nothing at all', undefined],
    ['a byte now and then', 20],
  ] as const) {
    it(`[I34, p14, p15] and sends ${name} is named after pull_progress_timeout`, async () => {
      await fixture.configure({ pullProgressTimeoutMs: 1000 });
      fallSilent(0, trickleMs);
      const started = performance.now();
      const { text, kind } = await failure(pull());
      await fixture.configure({ pullProgressTimeoutMs: 0 });
      assert.ok(performance.now() - started < 5000);
      assert.ok(text.endsWith(`registry ${registry.host} sent nothing for 1 s: context canceled`), text);
      assert.equal(kind, 'Canceled');
      assert.match(fixture.logged, /level=warning msg="Timed out on waiting up to 1s for image pull progress updates"/);
    });
  }

  it('[p15, I35] before it has said anything of a layer is given its time', async () => {
    await fixture.configure({ pullProgressTimeoutMs: 400 });
    registry.intercept = async () => {
      await delay(900);
      return false;
    };
    await pull();
    await fixture.configure({ pullProgressTimeoutMs: 0 });
    assert.equal(fixture.records().length, 1);
  });

  it('is left at once when the caller goes, and what was staged is gone by then', async () => {
    fallSilent(1000, undefined);
    const stop = new AbortController();
    const onProgress = ({ step }: PullProgress) => {
      if (step === 'downloading') setImmediate(() => stop.abort(new DOMException('context canceled', 'AbortError')));
    };
    assert.equal((await failure(pull('app', { signal: stop.signal, onProgress }))).kind, 'Canceled');
    assert.deepEqual(fixture.staged(), []);
  });
});

describe('a registry with much to do', () => {
  it('[I21] is asked again after the time it names', async () => {
    let refusals = 0;
    registry.intercept = ({ path }, response) => {
      if (!path.includes('/manifests/') || refusals >= 2) return false;
      refusals++;
      // A number of seconds, or a date, of whole seconds too.
      const until = refusals === 1 ? '1' : new Date(Date.now() + 2000).toUTCString();
      response.writeHead(429, { 'Retry-After': until }).end();
      return true;
    };
    const started = performance.now();
    await pull();
    assert.equal(refusals, 2);
    assert.ok(performance.now() - started >= 1950);
  });

  it('[I21] is asked five times in all', async () => {
    registry.intercept = ({ path }, response) => {
      if (!path.includes('/manifests/')) return false;
      refuse(response, 'TOOMANYREQUESTS', 429);
      return true;
    };
    const { text, code } = await failure(pull());
    assert.match(text, /too many requests to registry/);
    assert.equal(code, 'TOOMANYREQUESTS');
    assert.equal(registry.asked('/manifests/').length, 5);
  });

  it('gets a second chance when it is ill for a moment', async () => {
    let times = 0;
    registry.intercept = ({ path }, response) => {
      if (!path.includes('/blobs/') || ++times > 2) return false;
      response.writeHead(503).end();
      return true;
    };
    await pull();
    assert.equal(fixture.records().length, 1);
  });
});

describe('secrets', () => {
  it('[a46] in the address that a blob is redirected to are in no log line and no error', async () => {
    registry.intercept = ({ path }, response) => {
      if (!path.includes('/blobs/')) return false;
      response.writeHead(307, { Location: 'http://canary:canary@127.0.0.1:1/storage?X-Amz-Signature=canary' }).end();
      return true;
    };
    const { error, text } = await failure(pull());
    assert.ok(text.includes('Get "http://127.0.0.1:1/storage?…": dial tcp 127.0.0.1:1: connect: connection refused'), text);
    assert.ok(!`${inspect(error, { depth: 3 })}${fixture.logged}`.includes('canary'), text);
  });

  it('[a46] are in no log line and no error', async () => {
    registry.intercept = (_, response) => {
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end();
      return true;
    };
    const secret = { username: 'user', password: 'canary-password', identityToken: 'canary-identity' };
    const { error } = await failure(pull('app', { auth: { ...secret, auth: '', serverAddress: '', registryToken: '' } }));
    const header = `Basic ${Buffer.from('user:canary-password').toString('base64')}`;
    assert.ok(registry.seen.some(({ headers }) => headers.authorization === header));
    const shown = `${inspect(error, { depth: 20, showHidden: true })}${fixture.logged}`;
    assert.ok(!shown.includes('canary') && !shown.includes(header.slice(6)), shown);
  });
});
