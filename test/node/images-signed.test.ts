import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { textOf } from '../../src/errors/index.ts';
import { runOk } from '../../src/process/index.ts';
import { ImageFixture } from '../harness/image-fixture.ts';
import { layerOf } from '../harness/images.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { RegistryStorage } from '../harness/registry-storage.ts';
import { type RunningRegistry, startRegistry } from '../harness/registry.ts';
import {
  CodeAuthority,
  GpgHome,
  type SigstoreSignature,
  attach,
  logged,
  newSigningKey,
  newerSkopeo,
  sigstoreSignature,
  simplePayload,
} from '../harness/signing.ts';
import { unpackedTool } from '../harness/tools.ts';

inPrivateNetwork(import.meta.filename);

const fixture = new ImageFixture();
const storage = new RegistryStorage(join(fixture.dir, 'registry'));
const gpg = new GpgHome(join(fixture.dir, 'gpg'));
const lookaside = join(fixture.dir, 'lookaside');
let registry: RunningRegistry;
let digest: string;
let ours: { fingerprint: string; armored: string; binary: string };
let theirs: { fingerprint: string; armored: string };

before(async () => {
  await fixture.start();
  registry = await startRegistry({ storage: storage.dir });
  await fixture.configure({ registriesDirs: [join(fixture.dir, 'registries.d')], defaultLookaside: '' }, insecure(registry.host));
  ({ digest } = storage.putImage('team/app', 'v1', { layers: [{ tar: await layerOf({ a: '1' }) }] }));
  storage.putImage('team/app', 'v1-again', { layers: [{ tar: await layerOf({ a: '1' }) }] });
  storage.putImage('mirror/team/app', 'v1', { layers: [{ tar: await layerOf({ a: '1' }) }] });
  storage.putImage('team/app', 'unsigned', { layers: [{ tar: await layerOf({ other: '1' }) }] });
  const [mine, other] = [await gpg.make('ours@example.com'), await gpg.make('theirs@example.com')];
  ours = {
    fingerprint: mine,
    armored: await gpg.exported(mine, join(fixture.dir, 'ours.asc')),
    binary: await gpg.exported(mine, join(fixture.dir, 'ours.gpg'), false),
  };
  theirs = { fingerprint: other, armored: await gpg.exported(other, join(fixture.dir, 'theirs.asc')) };
  fixture.write(
    'registries.d/here.yaml',
    `docker:\n  ${registry.host}/team:\n    lookaside: file://${lookaside}\n  ${registry.host}/mirror:\n    lookaside: file://${lookaside}/mirror\n` +
      `  ${registry.host}/sig:\n    use-sigstore-attachments: true\n`,
  );
  // skopeo signs it, with GnuPG, and lays the signature where registries.d says.
  const sign = ['standalone-sign', '--output', join(fixture.dir, 'signature')];
  const manifest = fixture.write('manifest.json', readFileSync(storage.blobFile(digest)));
  await runOk([unpackedTool('usr/bin/skopeo'), ...sign, manifest, `${registry.host}/team/app:v1`, ours.fingerprint], {
    timeoutMs: 60_000,
    env: gpg.env,
  });
  for (const place of ['team/app', 'mirror/mirror/team/app']) layDown(place, readFileSync(join(fixture.dir, 'signature')));
});

afterEach(async () => {
  await fixture.nothingStaged();
  await fixture.clear();
  fixture.write('policy.json', '{"default":[{"type":"insecureAcceptAnything"}]}');
});

after(async () => {
  await gpg.end();
  await registry.stop();
  await fixture.end();
});

function insecure(host: string): string {
  return `[[registry]]\nlocation = "${host}"\ninsecure = true\n`;
}

function layDown(place: string, blob: Uint8Array, number = 1, of = digest): void {
  const dir = join(lookaside, `${place}@${of.replace(':', '=')}`);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, `signature-${number}`), blob);
}

/** What is between a leaf and the root, and the root itself, as cosign has it. */
function chainOf(authority: CodeAuthority): string {
  return readFileSync(authority.path('middle'), 'utf8') + readFileSync(authority.path('root'), 'utf8');
}

/** Our verdict and skopeo's about one image under one policy; they must agree. Answers our refusal, or undefined. */
async function verdict(image: string, requirements: unknown): Promise<string | undefined> {
  const policy = fixture.write('policy.json', JSON.stringify({ default: requirements }));
  const to = join(fixture.dir, 'skopeo-copy');
  const args = ['--policy', policy, '--registries.d', join(fixture.dir, 'registries.d'), 'copy', '--src-tls-verify=false'];
  const [judge, refusal] = await Promise.all([
    newerSkopeo([...args, `docker://${registry.host}/${image}`, `dir:${to}`], { ...gpg.env, TMPDIR: fixture.dir }),
    fixture.images.pull(`${registry.host}/${image}`).then(
      () => undefined,
      (error: unknown) => textOf(error),
    ),
  ]);
  rmSync(to, { recursive: true, force: true });
  assert.equal(refusal === undefined, judge.code === 0, `we: ${refusal ?? 'fine'}; skopeo: ${judge.stderr || 'fine'}`);
  if (refusal !== undefined) {
    assert.match(refusal, /^SignatureValidationFailed: unable to pull image: Source image rejected: /);
    assert.deepEqual(fixture.layers(), [], 'something of a refused image was kept');
  }
  await fixture.clear();
  return refusal;
}

const signedBy = (keys: object, signedIdentity?: object) => [
  { type: 'signedBy', keyType: 'GPGKeys', ...keys, ...(signedIdentity === undefined ? {} : { signedIdentity }) },
];

describe('an image signed with GnuPG', () => {
  it('[I30, I31] is let through for its key, in whatever form the policy has it', async () => {
    for (const keys of [
      { keyPath: ours.armored },
      { keyPath: ours.binary },
      { keyPaths: [theirs.armored, ours.armored] },
      { keyData: readFileSync(ours.armored).toString('base64') },
    ])
      assert.equal(await verdict('team/app:v1', signedBy(keys)), undefined, JSON.stringify(keys).slice(0, 80));
    assert.equal(await verdict(`team/app@${digest}`, signedBy({ keyPath: ours.armored })), undefined);
  });

  it('[I6, I31] is refused for another key, and an unsigned one for any', async () => {
    assert.match(
      (await verdict('team/app:v1', signedBy({ keyPath: theirs.armored }))) ?? '',
      /Signature by key [0-9A-F]+ is not accepted$/,
    );
    assert.match(
      (await verdict('team/app:unsigned', signedBy({ keyPath: ours.armored }))) ?? '',
      /A signature was required, but no signature exists$/,
    );
    assert.match((await verdict('team/app:v1', signedBy({ keyPath: join(fixture.dir, 'none.asc') }))) ?? '', /reading GPG keys .*ENOENT/);
    const both = [...signedBy({ keyPath: ours.armored }), ...signedBy({ keyPath: theirs.armored })];
    assert.match((await verdict('team/app:v1', both)) ?? '', /is not accepted$/);
  });

  it('[I30] is let through under the names that signedIdentity allows', async () => {
    const keys = { keyPath: ours.armored };
    const named = `${registry.host}/team/app`;
    assert.match((await verdict('team/app:v1-again', signedBy(keys))) ?? '', /Signature for identity ".*team\/app:v1" is not accepted$/);
    for (const [image, identity, isFine] of [
      ['team/app:v1', { type: 'matchExact' }, true],
      ['team/app:v1-again', { type: 'matchExact' }, false],
      ['team/app:v1-again', { type: 'matchRepository' }, true],
      ['mirror/team/app:v1', { type: 'matchRepository' }, false],
      ['mirror/team/app:v1', { type: 'exactReference', dockerReference: `${named}:v1` }, true],
      ['mirror/team/app:v1', { type: 'exactReference', dockerReference: `${named}:v2` }, false],
      ['mirror/team/app:v1', { type: 'exactRepository', dockerRepository: named }, true],
      ['mirror/team/app:v1', { type: 'exactRepository', dockerRepository: `${named}x` }, false],
      [
        'mirror/team/app:v1',
        { type: 'remapIdentity', prefix: `${registry.host}/mirror/team`, signedPrefix: `${registry.host}/team` },
        true,
      ],
      ['mirror/team/app:v1', { type: 'remapIdentity', prefix: `${registry.host}/mirror/tea`, signedPrefix: `${registry.host}/tea` }, false],
      ['team/app:v1', { type: 'remapIdentity', prefix: 'elsewhere.io', signedPrefix: 'signed.io' }, true],
    ] as const)
      assert.equal((await verdict(image, signedBy(keys, identity))) === undefined, isFine, `${image} ${JSON.stringify(identity)}`);
  });

  it('[I31] is refused when the signature is about another image, and let through by the second of two', async () => {
    const other = storage.putImage('team/two', 'v1', { layers: [{ tar: await layerOf({ two: '1' }) }] });
    const name = `${registry.host}/team/two:v1`;
    layDown('team/two', await gpg.sign(ours.fingerprint, simplePayload(name, digest)), 1, other.digest);
    assert.match(
      (await verdict('team/two:v1', signedBy({ keyPath: ours.armored }))) ?? '',
      /Signature for digest sha256:[0-9a-f]{64} does not match$/,
    );
    layDown('team/two', await gpg.sign(theirs.fingerprint, simplePayload(name, other.digest)), 2, other.digest);
    assert.match(
      (await verdict('team/two:v1', signedBy({ keyPath: ours.armored }))) ?? '',
      /None of the signatures were accepted, reasons: Signature for digest .*; Signature by key /,
    );
    layDown('team/two', await gpg.sign(ours.fingerprint, simplePayload(name, other.digest)), 3, other.digest);
    assert.equal(await verdict('team/two:v1', signedBy({ keyPath: ours.armored })), undefined);
  });

  it('[a48] is refused when its key has expired, when it is no signature, and when its payload says more than it may', async () => {
    const old = await gpg.make('old@example.com', { madeAt: '20200101T000000', expires: '20210101T000000' });
    const key = { keyPath: await gpg.exported(old, join(fixture.dir, 'old.asc')) };
    const other = storage.putImage('team/odd', 'v1', { layers: [{ tar: await layerOf({ odd: '1' }) }] });
    const payload = simplePayload(`${registry.host}/team/odd:v1`, other.digest);
    const refuse = async (blob: Uint8Array, keys: object, expected: RegExp) => {
      layDown('team/odd', blob, 1, other.digest);
      assert.match((await verdict('team/odd:v1', signedBy(keys))) ?? '', expected);
    };
    await refuse(await gpg.sign(old, payload, '20200601T000000'), key, /Invalid GPG signature/);
    await refuse(Buffer.from(payload), { keyPath: ours.armored }, /Invalid GPG signature/);
    const more = payload.replace('"critical":{', '"critical":{"also":1,');
    await refuse(await gpg.sign(ours.fingerprint, more), { keyPath: ours.armored }, /unexpected or missing key "also"/);
    const twice = payload.replace('{"critical"', '{"critical":{},"critical"');
    await refuse(await gpg.sign(ours.fingerprint, twice), { keyPath: ours.armored }, /occurs twice/);
  });

  it('[I33, I50, p25] keeps its signature in the store, which a namespace checks again', async () => {
    const image = `${registry.host}/team/app:v1`;
    const { imageId } = await fixture.images.pull(image);
    const [record] = fixture.records();
    assert.deepEqual(record?.['big-data-names'].slice(-2), ['signatures', `signature-${digest.slice(7)}`]);
    const size = readFileSync(join(fixture.dir, 'signature')).length;
    assert.deepEqual(JSON.parse(record?.metadata ?? ''), { 'signature-sizes': [size], 'signatures-sizes': { [digest]: [size] } });
    fixture.write('policies/strict.json', JSON.stringify({ default: signedBy({ keyPath: ours.armored }) }));
    fixture.write('policies/other.json', JSON.stringify({ default: signedBy({ keyPath: theirs.armored }) }));
    await fixture.images.verifyUse(image, 'strict', imageId);
    await assert.rejects(
      fixture.images.verifyUse(image, 'other', imageId),
      /SignatureValidationFailed: Signature by key [0-9A-F]+ is not accepted/,
    );
    // skopeo reads what we keep, and judges the same.
    const store = `containers-storage:[overlay@${fixture.store.graphRoot}+${fixture.store.runRoot}]${image}`;
    const policy = fixture.write('storage-policy.json', JSON.stringify({ default: signedBy({ keyPath: ours.armored }) }));
    const judged = await newerSkopeo(['--policy', policy, 'copy', '--remove-signatures', store, `dir:${fixture.dir}/from-store`], gpg.env);
    assert.equal(judged.code, 0, judged.stderr);
  });

  it('[I32] is looked for over HTTP too', async () => {
    const { StandInRegistry } = await import('../harness/stand-in-registry.ts');
    const server = new StandInRegistry(storage.dir);
    await server.start();
    try {
      server.intercept = ({ path }, response) => {
        const [, number] = /signature-(\d)$/.exec(path) ?? [];
        if (number === undefined) return false;
        response.writeHead(number === '1' ? 200 : 404).end(number === '1' ? readFileSync(join(fixture.dir, 'signature')) : '');
        return true;
      };
      storage.putImage('far/app', 'v1', { layers: [{ tar: await layerOf({ a: '1' }) }] });
      fixture.write('registries.d/far.yaml', `docker:\n  ${registry.host}/far:\n    lookaside: http://${server.host}/signatures\n`);
      assert.equal(
        await verdict(
          'far/app:v1',
          signedBy({ keyPath: ours.armored }, { type: 'exactRepository', dockerRepository: `${registry.host}/team/app` }),
        ),
        undefined,
      );
      assert.ok(server.seen.some(({ path }) => path === `/signatures/far/app@${digest.replace(':', '=')}/signature-1`));
    } finally {
      rmSync(join(fixture.dir, 'registries.d/far.yaml'));
      await server.stop();
    }
  });
});

describe('an image signed with sigstore', () => {
  const policy = (fields: object) => [{ type: 'sigstoreSigned', ...fields }];
  const data = (pem: string) => Buffer.from(pem).toString('base64');
  let count = 0;

  /** A fresh image with these signatures beside it; answers its name. */
  async function signed(make: (reference: string, digest: string) => readonly SigstoreSignature[]): Promise<string> {
    const repository = `sig/app-${count++}`;
    const image = storage.putImage(repository, 'v1', { layers: [{ tar: await layerOf({ [repository]: '1' }) }] });
    attach(storage, repository, image.digest, make(`${registry.host}/${repository}:v1`, image.digest));
    return `${repository}:v1`;
  }

  it('[I30, I32] is let through for its key, of whatever kind, where attachments are looked for', async () => {
    for (const type of ['ec', 'ed25519', 'rsa'] as const) {
      const signer = newSigningKey(type);
      const image = await signed((reference, of) => [sigstoreSignature(signer.key, reference, of)]);
      assert.equal(await verdict(image, policy({ keyData: data(signer.publicPem) })), undefined, type);
      assert.equal(await verdict(image, policy({ keyPath: fixture.write('cosign.pub', signer.publicPem) })), undefined, type);
      const other = newSigningKey(type);
      assert.match((await verdict(image, policy({ keyData: data(other.publicPem) }))) ?? '', /invalid signature/, type);
      assert.equal(await verdict(image, policy({ keyDatas: [data(other.publicPem), data(signer.publicPem)] })), undefined, type);
      assert.match((await verdict(image, policy({ keyData: data('no key') }))) ?? '', /parsing public key/);
    }
    const signer = newSigningKey();
    const unseen = storage.putImage('team/sig', 'v1', { layers: [{ tar: await layerOf({ x: '1' }) }] });
    attach(storage, 'team/sig', unseen.digest, [sigstoreSignature(signer.key, `${registry.host}/team/sig:v1`, unseen.digest)]);
    assert.match((await verdict('team/sig:v1', policy({ keyData: data(signer.publicPem) }))) ?? '', /no signature exists$/);
  });

  it('[I30] must be about this image', async () => {
    const signer = newSigningKey();
    const keys = { keyData: data(signer.publicPem) };
    const wrongName = await signed((_, of) => [sigstoreSignature(signer.key, 'elsewhere.io/x:v1', of)]);
    assert.match((await verdict(wrongName, policy(keys))) ?? '', /Signature for identity "elsewhere\.io\/x:v1" is not accepted$/);
    const wrongDigest = await signed((reference) => [sigstoreSignature(signer.key, reference, digest)]);
    assert.match((await verdict(wrongDigest, policy(keys))) ?? '', /Signature for digest .* does not match$/);
    // cosign signs the repository without a tag.
    const cosign = await signed((reference, of) => [sigstoreSignature(signer.key, reference.replace(/:v1$/, ''), of)]);
    assert.notEqual(await verdict(cosign, policy(keys)), undefined);
    assert.equal(await verdict(cosign, policy({ ...keys, signedIdentity: { type: 'matchRepository' } })), undefined);
  });

  it('[a48] must be in the log that the policy names, itself and nothing else', async () => {
    const [signer, log, stranger] = [newSigningKey(), newSigningKey(), newSigningKey()];
    const rules = policy({ keyData: data(signer.publicPem), rekorPublicKeyData: data(log.publicPem) });
    const make = async (entry: (signature: SigstoreSignature) => SigstoreSignature) =>
      await signed((reference, of) => [entry(sigstoreSignature(signer.key, reference, of))]);
    assert.equal(await verdict(await make((s) => logged(s, log.key, signer.publicPem)), rules), undefined);
    assert.match((await verdict(await make((s) => s), rules)) ?? '', /missing dev\.sigstore\.cosign\/bundle annotation/);
    for (const [entry, expected] of [
      [(s: SigstoreSignature) => logged(s, stranger.key, signer.publicPem), /cryptographic verification failed/],
      [(s: SigstoreSignature) => logged(s, log.key, stranger.publicPem), /about another signer/],
      [(s: SigstoreSignature) => logged(s, log.key, signer.publicPem, { payload: 'other' }), /about another payload/],
      [(s: SigstoreSignature) => logged(s, log.key, signer.publicPem, { signature: 'AAAA' }), /about another signature/],
    ] as const)
      assert.match((await verdict(await make(entry), rules)) ?? '', expected);
  });

  it("[I30] is let through for a certificate of the policy's authority that names whom it wants", async () => {
    const authority = await CodeAuthority.make(join(fixture.dir, 'pki'));
    const stranger = await CodeAuthority.make(join(fixture.dir, 'stranger'));
    const certified = (leaf: { key: Parameters<typeof sigstoreSignature>[0]; pem: string }, chain = chainOf(authority)) =>
      signed((reference, of) => {
        const { payload, annotations } = sigstoreSignature(leaf.key, reference, of);
        return [
          { payload, annotations: { ...annotations, 'dev.sigstore.cosign/certificate': leaf.pem, 'dev.sigstore.cosign/chain': chain } },
        ];
      });
    const pki = (more: object) => policy({ pki: { caRootsPath: authority.path('root'), ...more } });
    const mail = await certified(await authority.leaf('mail', 'email:dev@example.com'));
    assert.equal(await verdict(mail, pki({ subjectEmail: 'dev@example.com' })), undefined);
    assert.match((await verdict(mail, pki({ subjectEmail: 'other@example.com' }))) ?? '', /Required email "other@example\.com" not found/);
    const strange = policy({ pki: { caRootsPath: stranger.path('root'), subjectEmail: 'dev@example.com' } });
    assert.match((await verdict(mail, strange)) ?? '', /no path to a trusted root/);
    const host = await certified(await authority.leaf('host', 'DNS:build.example.com'));
    assert.equal(await verdict(host, pki({ subjectHostname: 'build.example.com' })), undefined);
    assert.match((await verdict(host, pki({ subjectHostname: 'other.example.com' }))) ?? '', /Unexpected subject hostname/);
    const bare = await certified(await authority.leaf('bare', 'email:dev@example.com'), '');
    assert.match((await verdict(bare, pki({ subjectEmail: 'dev@example.com' }))) ?? '', /no path to a trusted root/);
    const middle = { caIntermediatesPath: authority.path('middle'), subjectEmail: 'dev@example.com' };
    assert.equal(await verdict(bare, pki(middle)), undefined);
    const server = await certified(await authority.leaf('server', 'email:dev@example.com', 'extendedKeyUsage=serverAuth\n'));
    assert.match((await verdict(server, pki({ subjectEmail: 'dev@example.com' }))) ?? '', /not for signing code/);
    const constrained = 'extendedKeyUsage=codeSigning\n1.2.3.4=critical,ASN1:UTF8String:odd\n';
    const odd = await certified(await authority.leaf('odd', 'email:dev@example.com', constrained));
    assert.match((await verdict(odd, pki({ subjectEmail: 'dev@example.com' }))) ?? '', /no path to a trusted root/);
  });

  it('[I30, a48] is let through for a Fulcio certificate that was valid when the log had it', async () => {
    const authority = await CodeAuthority.make(join(fixture.dir, 'fulcio'));
    const log = newSigningKey();
    const issuer = 'https://accounts.example.com';
    const extensions = `extendedKeyUsage=codeSigning\n1.3.6.1.4.1.57264.1.1=DER:${Buffer.from(issuer).toString('hex')}\n1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:${issuer}\n`;
    const leaf = await authority.leaf('leaf', 'email:dev@example.com', extensions);
    const chain = chainOf(authority);
    const make = (time?: number) =>
      signed((reference, of) => {
        const entry = logged(sigstoreSignature(leaf.key, reference, of), log.key, leaf.pem, time === undefined ? {} : { time });
        const with509 = { 'dev.sigstore.cosign/certificate': leaf.pem, 'dev.sigstore.cosign/chain': chain };
        return [{ payload: entry.payload, annotations: { ...entry.annotations, ...with509 } }];
      });
    const rules = (fields: object) =>
      policy({
        fulcio: { caPath: authority.path('root'), oidcIssuer: issuer, subjectEmail: 'dev@example.com', ...fields },
        rekorPublicKeyData: data(log.publicPem),
      });
    const image = await make();
    assert.equal(await verdict(image, rules({})), undefined);
    assert.match((await verdict(image, rules({ oidcIssuer: 'https://other.example.com' }))) ?? '', /Unexpected Fulcio OIDC issuer/);
    assert.match((await verdict(image, rules({ subjectEmail: 'x@example.com' }))) ?? '', /Required email/);
    assert.match((await verdict(await make(1_600_000_000), rules({}))) ?? '', /no path to a trusted root/);
    const plain = await authority.leaf('plain', 'email:dev@example.com');
    const without = await signed((reference, of) => {
      const entry = logged(sigstoreSignature(plain.key, reference, of), log.key, plain.pem);
      return [
        {
          payload: entry.payload,
          annotations: { ...entry.annotations, 'dev.sigstore.cosign/certificate': plain.pem, 'dev.sigstore.cosign/chain': chain },
        },
      ];
    });
    assert.match((await verdict(without, rules({}))) ?? '', /missing the issuer extension/);
  });

  it('[I33, I50] keeps its signatures in the store as other tools do', async () => {
    const signer = newSigningKey();
    const image = await signed((reference, of) => [sigstoreSignature(signer.key, reference, of)]);
    const { imageId } = await fixture.images.pull(`${registry.host}/${image}`);
    fixture.write('policies/sig.json', JSON.stringify({ default: policy({ keyData: data(signer.publicPem) }) }));
    await fixture.images.verifyUse(`${registry.host}/${image}`, 'sig', imageId);
    fixture.write('policies/sig.json', JSON.stringify({ default: policy({ keyData: data(newSigningKey().publicPem) }) }));
    await assert.rejects(fixture.images.verifyUse(`${registry.host}/${image}`, 'sig', imageId), /invalid signature/);
    const store = `containers-storage:[overlay@${fixture.store.graphRoot}+${fixture.store.runRoot}]${registry.host}/${image}`;
    const strict = fixture.write('storage-policy.json', JSON.stringify({ default: policy({ keyData: data(signer.publicPem) }) }));
    const judged = await newerSkopeo(
      ['--policy', strict, 'copy', '--remove-signatures', store, `dir:${fixture.dir}/sig-from-store`],
      gpg.env,
    );
    assert.equal(judged.code, 0, judged.stderr);
  });
});
