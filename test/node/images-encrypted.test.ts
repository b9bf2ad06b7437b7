import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { textOf } from '../../src/errors/index.ts';
import { readDecryptionKeys } from '../../src/images/decryption/index.ts';
import { type Recipient, annotationsFor, encrypted, encryptedCopy, newCertified, newRecipient } from '../harness/encrypting.ts';
import { ImageFixture } from '../harness/image-fixture.ts';
import { layerOf } from '../harness/images.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { type Descriptor, OCI, RegistryStorage, sha256 } from '../harness/registry-storage.ts';
import { type RunningRegistry, startRegistry } from '../harness/registry.ts';
import { StandInRegistry } from '../harness/stand-in-registry.ts';

inPrivateNetwork(import.meta.filename);

const fixture = new ImageFixture();
const storage = new RegistryStorage(join(fixture.dir, 'registry'));
const keysDir = join(fixture.dir, 'keys');
const recipients = join(fixture.dir, 'recipients');
/** Serves what skopeo pushes to the other, and tells what was asked for. */
const source = new StandInRegistry(storage.dir);
let registry: RunningRegistry;
let tars: Buffer[];
let ours: Recipient;
let theirs: Recipient;

before(async () => {
  await fixture.start();
  registry = await startRegistry({ storage: storage.dir });
  await source.start();
  await fixture.configure({}, `[[registry]]\nlocation = "${source.host}"\ninsecure = true\n`);
  tars = await Promise.all(['base', 'middle', 'top'].map((name) => layerOf({ [name]: held(name) })));
  storage.putImage('plain', 'latest', { layers: tars.map((tar) => ({ tar })) });
  storage.putImage('zstd', 'latest', { layers: tars.map((tar) => ({ tar, format: 'zstd' })) });
  [ours, theirs] = [newRecipient(recipients, 'ours'), newRecipient(recipients, 'theirs')];
  await encryptedCopy(registry.host, 'plain', 'secret', [ours]);
});

beforeEach(() => {
  mkdirSync(keysDir, { recursive: true });
  keep('node.pem', pem(ours));
});

afterEach(async () => {
  await fixture.nothingStaged();
  await fixture.clear();
  assert.deepEqual(fixture.layers(), []);
  rmSync(keysDir, { recursive: true, force: true });
  source.forget();
});

after(async () => {
  await source.stop();
  await registry.stop();
  await fixture.end();
});

const held = (name: string) => `what ${name} holds\n`.repeat(10_000);
const pem = ({ privateKey }: Recipient) => privateKey.export({ type: 'pkcs8', format: 'pem' });
const keep = (name: string, contents: string | Uint8Array) => fixture.write(`keys/${name}`, contents);
const pull = async (image: string) => (await fixture.images.pull(`${source.host}/${image}`)).imageId;
const refusal = async (image: string) =>
  await pull(image).then(
    () => assert.fail(`${image} was pulled`),
    (error: unknown) => textOf(error),
  );

interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

function manifestOf(image: string): Manifest {
  const link = join(storage.dir, 'docker/registry/v2/repositories', image, '_manifests/tags/latest/current/link');
  return JSON.parse(readFileSync(storage.blobFile(readFileSync(link, 'utf8')), 'utf8')) as Manifest;
}

/** Stores an image with these layers and the config of another one. */
function putLike(image: string, layers: readonly Descriptor[], like = 'secret'): void {
  const config = readFileSync(storage.blobFile(manifestOf(like).config.digest));
  const document = { schemaVersion: 2, mediaType: OCI.manifest, config: storage.putBlob(image, OCI.config, config), layers };
  storage.putManifest(image, OCI.manifest, document, 'latest');
}

/** Layers of an image, in another repository; `change` makes something else of their blobs. */
function copies(image: string, change: (blob: Buffer) => Buffer = (blob) => blob, from = 'secret'): Descriptor[] {
  return manifestOf(from).layers.map(({ digest, mediaType, annotations }) => ({
    ...storage.putBlob(image, mediaType, change(readFileSync(storage.blobFile(digest)))),
    ...(annotations === undefined ? {} : { annotations }),
  }));
}

/** What an image's layers hold, from the top down. */
async function contents(id: string): Promise<string[]> {
  const files: string[] = [];
  const top = (await fixture.store.images()).find((image) => image.id === id)?.layer;
  for (let layer = top && (await fixture.store.layer(top)); layer; layer = layer.parent && (await fixture.store.layer(layer.parent))) {
    const dir = fixture.store.layerDiffDirectory(layer.id);
    for (const name of readdirSync(dir)) files.push(readFileSync(join(dir, name), 'utf8') === held(name) ? name : `${name}, damaged`);
  }
  return files;
}

const CONTENTS = ['top', 'middle', 'base'];

describe('an encrypted image', () => {
  it('[I39] is pulled with the private key of the node, whatever form that has', async () => {
    const { privateKey } = ours;
    for (const [what, key] of [
      ['PKCS #8', pem(ours)],
      ['PKCS #1', privateKey.export({ type: 'pkcs1', format: 'pem' })],
      ['PKCS #8 in DER', privateKey.export({ type: 'pkcs8', format: 'der' })],
      ['PKCS #1 in DER', privateKey.export({ type: 'pkcs1', format: 'der' })],
      ['JWK', JSON.stringify(privateKey.export({ format: 'jwk' }))],
    ] as const) {
      keep('node.pem', key);
      assert.deepEqual(await contents(await pull('secret')), CONTENTS, what);
      await fixture.clear();
    }
  });

  it('[I39] is recorded as the registry has it, and its layers as what they hold', async () => {
    const manifest = manifestOf('secret');
    const id = await pull('secret');
    assert.equal(`sha256:${id}`, manifest.config.digest);
    const encryptedTypes = manifest.layers.map(({ mediaType }) => mediaType);
    assert.deepEqual(encryptedTypes, Array(3).fill('application/vnd.oci.image.layer.v1.tar+gzip+encrypted'));
    const stored = await fixture.store.imageBigData(id, 'manifest');
    assert.deepEqual(JSON.parse(stored.toString('utf8')), manifest);
    const plain = manifestOf('plain').layers.map(({ digest }) => digest);
    const records = await fixture.store.layers();
    assert.deepEqual(new Set(records.map((layer) => layer.compressedDiffDigest)), new Set(plain));
    assert.deepEqual(new Set(records.map((layer) => layer.diffDigest)), new Set(tars.map(sha256)));
    // By its digest, too: CRI-O cannot, its copy has another manifest.
    const [image] = await fixture.images.list();
    assert.equal(await pull(`secret@${image?.repoDigests[0]?.split('@')[1] ?? ''}`), id);
  });

  it('[I39] is pulled with a key of an elliptic curve, of a certificate, and by each of several recipients', async () => {
    for (const curve of ['P-256', 'P-384', 'P-521'] as const) {
      const recipient = newRecipient(recipients, curve, curve);
      await encryptedCopy(registry.host, 'plain', curve.toLowerCase(), [recipient]);
      for (const type of ['pkcs8', 'sec1'] as const) {
        keep('node.pem', recipient.privateKey.export({ type, format: 'pem' }));
        assert.deepEqual(await contents(await pull(curve.toLowerCase())), CONTENTS);
        await fixture.clear();
      }
    }
    const certified = await newCertified(recipients, 'certified');
    await encryptedCopy(registry.host, 'plain', 'certified', [certified]);
    keep('node.pem', pem(certified));
    assert.deepEqual(await contents(await pull('certified')), CONTENTS);
    await fixture.clear();
    const curve = newRecipient(recipients, 'curve', 'P-256');
    const all = [ours, theirs, curve, certified, await newCertified(recipients, 'other')];
    await encryptedCopy(registry.host, 'plain', 'several', all);
    for (const recipient of all) {
      keep('node.pem', pem(recipient));
      assert.deepEqual(await contents(await pull('several')), CONTENTS);
      await fixture.clear();
    }
  });

  it('[I39] may have layers that are not encrypted beside those that are, and of zstd', async () => {
    await encryptedCopy(registry.host, 'plain', 'mixed', [ours], [0, -1]);
    await encryptedCopy(registry.host, 'zstd', 'zstd-secret', [ours], [1]);
    const typesOf = (image: string) => manifestOf(image).layers.map(({ mediaType }) => mediaType.slice(OCI.layer.length));
    assert.deepEqual(typesOf('mixed'), ['+gzip+encrypted', '+gzip', '+gzip+encrypted']);
    assert.deepEqual(typesOf('zstd-secret'), ['+zstd', '+zstd+encrypted', '+zstd']);
    for (const image of ['mixed', 'zstd-secret']) {
      assert.deepEqual(await contents(await pull(image)), CONTENTS, image);
      await fixture.clear();
    }
    // And uncompressed, and in docker's format, which skopeo does not make.
    const secret = encrypted(tars[0] ?? Buffer.alloc(0));
    const annotations = await annotationsFor(ours, secret);
    for (const type of [`${OCI.layer}+encrypted`, 'application/vnd.docker.image.rootfs.diff.tar+encrypted']) {
      storage.putImage('one', 'latest', { layers: [{ tar: tars[0] ?? Buffer.alloc(0) }] });
      putLike('uncompressed', [{ ...storage.putBlob('uncompressed', type, secret.blob), annotations }], 'one');
      assert.deepEqual(await contents(await pull('uncompressed')), CONTENTS.slice(2));
      await fixture.clear();
    }
  });
});

describe('an encrypted image is refused', () => {
  const layer = () => manifestOf('secret').layers[0]?.digest ?? '';

  it('[I39] without a key, and with the keys of others: the error names the layer, the kind of key and where keys are looked for', async () => {
    const wants = `it wants an RSA or EC private key (jwe)`;
    keep('node.pem', pem(theirs));
    assert.ok(
      (await refusal('secret')).includes(
        `decrypting layer ${layer()}: no suitable key unwrapper found or none of the private keys could be used for decryption: ` +
          `${wants}, and none of 1 fits (decryption_keys_path is ${keysDir})`,
      ),
    );
    for (const empty of [() => rmSync(join(keysDir, 'node.pem')), () => rmSync(keysDir, { recursive: true })]) {
      empty();
      const text = `decrypting layer ${layer()}: missing private key needed for decryption: ${wants}, and there is none (decryption_keys_path is ${keysDir})`;
      const error = await refusal('secret');
      assert.ok(error.includes(text), error);
    }
    assert.deepEqual(fixture.layers(), []);
    assert.deepEqual(await contents(await pull('plain')), CONTENTS, 'a missing directory is no error');
  });

  it('[I39] for keys of kinds that are not supported, by their names', async () => {
    const rename = (to: string) =>
      copies('kinds').map((descriptor) => {
        const { 'org.opencontainers.image.enc.keys.jwe': value = '', ...rest } = descriptor.annotations ?? {};
        return { ...descriptor, annotations: { ...rest, ...(to === '' ? {} : { [`org.opencontainers.image.enc.keys.${to}`]: value }) } };
      });
    for (const [kind, text] of [
      ['pgp', /decrypting layer sha256:[0-9a-f]{64}: it is encrypted for keys of the kind pgp, which are not supported/],
      ['provider.my-hsm', /keys of the kind provider\.my-hsm, which are not supported/],
      ['pkcs7', /none of 1 fits/],
      ['', /missing Annotations needed for decryption/],
    ] as const) {
      putLike('kinds', rename(kind));
      assert.match(await refusal('kinds'), text);
    }
  });

  it('[I39] whose blob was changed: its code is compared before anything of it counts', async () => {
    for (const change of [
      (blob: Buffer) => Buffer.from(blob).fill((blob.at(-1) ?? 0) ^ 1, blob.length - 1),
      (blob: Buffer) => blob.subarray(0, -10),
      (blob: Buffer) => Buffer.concat([blob, Buffer.alloc(10)]),
    ]) {
      putLike('changed', copies('changed', change));
      assert.match(
        await refusal('changed'),
        /decrypting layer sha256:[0-9a-f]{64}: could not properly decrypt byte stream: its HMAC does not fit/,
      );
      assert.deepEqual(fixture.layers(), []);
    }
  });

  it('[I39] whose options are nonsense, in words that tell nothing of the key', async () => {
    const secret = encrypted(Buffer.from('x'));
    const putWith = async (open: object | string, about: Partial<typeof secret> = {}) => {
      const annotations = await annotationsFor(ours, { ...secret, ...about });
      const text = typeof open === 'string' ? open : JSON.stringify(open);
      annotations['org.opencontainers.image.enc.pubopts'] = Buffer.from(text).toString('base64');
      putLike(
        'nonsense',
        copies('nonsense').map((descriptor) => ({ ...descriptor, annotations })),
      );
      return await refusal('nonsense');
    };
    const [cipher, hmac] = ['AES_256_CTR_HMAC_SHA256', Buffer.from(secret.mac).toString('base64')];
    for (const [open, about, text] of [
      [{ cipher: 'ROT13', hmac }, {}, /unsupported cipher type: "ROT13"/],
      [{ cipher }, {}, /HMAC is not provided for decryption process/],
      [{ cipher, hmac: 'AAAA' }, {}, /HMAC is not provided/],
      ['{', {}, /its public options are malformed/],
      [{ cipher, hmac }, { key: Buffer.alloc(16) }, /key or nonce in its envelope is of a wrong length/],
      [{ cipher, hmac }, { nonce: Buffer.alloc(0) }, /key or nonce in its envelope is of a wrong length/],
    ] as const)
      assert.match(await putWith(open, about), text);
    const many = copies('many').map((descriptor) => {
      const envelope = descriptor.annotations?.['org.opencontainers.image.enc.keys.jwe'] ?? '';
      return { ...descriptor, annotations: { 'org.opencontainers.image.enc.keys.jwe': Array(17).fill(envelope).join(',') } };
    });
    putLike('many', many);
    assert.match(await refusal('many'), /its jwe annotation has more than 16 envelopes/);
    const symkey = Buffer.from(secret.key).toString('base64');
    for (const word of [symkey, pem(ours).toString().split('\n')[2] ?? '?']) assert.ok(!fixture.logged.includes(word));
  });
});

describe('decryption_keys_path', () => {
  it('[I39] is read at each pull, all files below it, in every directory', async () => {
    rmSync(join(keysDir, 'node.pem'));
    await refusal('secret');
    keep('deep/er/others.pem', pem(theirs));
    keep('deep/er/ours.pem', pem(ours));
    keep('certificate.crt', readFileSync((await newCertified(recipients, 'beside')).forSkopeo.slice('pkcs7:'.length)));
    keep('ring.asc', '-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlIYE\n-----END PGP PRIVATE KEY BLOCK-----\n');
    keep('ring.gpg', Buffer.from('9504ae', 'hex'));
    keep('token.yaml', 'pkcs11:\n  uri: pkcs11:object=key\n');
    assert.deepEqual(await contents(await pull('secret')), CONTENTS);
    await fixture.configure({ decryptionKeysPath: join(keysDir, 'deep/er/ours.pem') });
    try {
      await fixture.clear();
      assert.deepEqual(await contents(await pull('secret')), CONTENTS, 'a file instead of a directory');
    } finally {
      await fixture.configure({ decryptionKeysPath: keysDir });
    }
  });

  it('[I39] with anything else in it fails every pull, and the error says why', async () => {
    const locked = (type: 'pkcs8' | 'pkcs1') =>
      theirs.privateKey.export({ type, format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' });
    for (const [name, lay, text] of [
      ['link', (path: string) => symlinkSync('node.pem', path), /^symbolic links not supported in decryption keys paths: .*\/keys\/link$/],
      ['dir', (path: string) => symlinkSync('/etc', path), /^symbolic links not supported in decryption keys paths/],
      ['README', (path: string) => writeFileSync(path, 'put keys here'), /^Unknown decryption key type: .*\/keys\/README$/],
      ['empty', (path: string) => writeFileSync(path, ''), /^Unknown decryption key type/],
      [
        'public.pem',
        (path: string) => writeFileSync(path, readFileSync(ours.forSkopeo.slice('jwe:'.length))),
        /^Unknown decryption key type/,
      ],
      [
        'locked.pem',
        (path: string) => writeFileSync(path, locked('pkcs8')),
        /^Missing password for encrypted private key: .*\/locked\.pem$/,
      ],
      ['old.pem', (path: string) => writeFileSync(path, locked('pkcs1')), /^Missing password for encrypted private key: .*\/old\.pem$/],
      ['fifo', (path: string) => execFileSync('mkfifo', [path]), /^read private key file: .*\/fifo is no regular file$/],
      [
        'huge',
        (path: string) => writeFileSync(path, Buffer.alloc(2_000_000)),
        /^read private key file: .*\/huge is larger than 1048576 bytes$/,
      ],
    ] as const) {
      const path = join(keysDir, name);
      lay(path);
      for (const image of ['plain', 'secret']) assert.match(await refusal(image), text, name);
      rmSync(path);
    }
    assert.deepEqual((await readDecryptionKeys('')).privateKeys, []);
    symlinkSync('keys', join(fixture.dir, 'linked'));
    await assert.rejects(readDecryptionKeys(join(fixture.dir, 'linked')), /symbolic links not supported/);
    assert.equal((await readDecryptionKeys(join(fixture.dir, 'linked/'))).privateKeys.length, 1);
    rmSync(join(fixture.dir, 'linked'));
  });
});

describe('layers that were decrypted', () => {
  const blobsAsked = () => source.asked('/blobs/').length;
  const repeated = async (image: string) => {
    const before = blobsAsked();
    await pull(image);
    return blobsAsked() - before;
  };

  it('[a47] are not fetched again with their key, and not to be had without', async () => {
    await pull('secret');
    assert.equal(await repeated('secret'), 0);
    keep('node.pem', pem(theirs));
    assert.match(await refusal('secret'), /none of 1 fits/);
    rmSync(keysDir, { recursive: true });
    assert.match(await refusal('secret'), /missing private key/);
  });

  it('[a47] are not given to an image that only names their contents', async () => {
    // What a stranger knows: config, manifest and encrypted blobs of the image, and the public key of the node.
    const junk = encrypted(Buffer.from('junk'));
    const annotations = await annotationsFor(ours, junk);
    const types = (encryptedType: boolean) => `${OCI.layer}+gzip${encryptedType ? '+encrypted' : ''}`;
    putLike(
      'forged-plain',
      manifestOf('secret').layers.map(() => storage.putBlob('forged-plain', types(false), Buffer.from('x'))),
    );
    putLike(
      'forged-same',
      copies('forged-same').map(({ digest, size }) => ({ mediaType: types(false), digest, size })),
    );
    putLike(
      'forged-diff',
      manifestOf('secret').layers.map((_, i) =>
        storage.putBlob('forged-diff', OCI.layer, Buffer.from('x'), sha256(tars[i] ?? Buffer.alloc(0))),
      ),
    );
    putLike(
      'forged-junk',
      manifestOf('secret').layers.map(() => ({ ...storage.putBlob('forged-junk', types(true), junk.blob), annotations })),
    );
    putLike(
      'forged-key',
      copies('forged-key').map((descriptor) => ({ ...descriptor, annotations })),
    );
    const forged = ['forged-plain', 'forged-same', 'forged-diff', 'forged-junk', 'forged-key'];
    await pull('secret');
    for (const image of forged) await refusal(image);
    // Nor while they are being decrypted for somebody else, whose blobs come when all others have been refused.
    await fixture.clear();
    const blobs = new Set(manifestOf('secret').layers.map(({ digest }) => `/v2/secret/blobs/${digest}`));
    const [begun, refused] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    source.intercept = async ({ path }) => {
      if (!blobs.delete(path)) return false;
      if (blobs.size === 0) begun.resolve();
      await refused.promise;
      return false;
    };
    const genuine = pull('secret');
    await begun.promise;
    for (const image of forged) await refusal(image);
    refused.resolve();
    assert.deepEqual(await contents(await genuine), CONTENTS);
  });

  it('[a47] are shared with who has the same blobs unencrypted, or encrypted with other keys', async () => {
    await pull('secret');
    assert.equal(await repeated('plain'), 0, 'who names what was encrypted has seen it');
    await encryptedCopy(registry.host, 'plain', 'secret-again', [ours]);
    assert.equal(await repeated('secret-again'), 3, 'another key: the contents have to be shown once');
    assert.equal(await repeated('secret-again'), 0);
    assert.equal(await repeated('secret'), 0);
    assert.equal(await repeated('zstd'), 3, 'other blobs of the same contents, unencrypted');
    assert.equal(await repeated('zstd'), 0);
    keep('node.pem', pem(ours));
    assert.deepEqual(await contents(await pull('secret')), CONTENTS);
  });
});
