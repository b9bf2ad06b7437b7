import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { textOf } from '../../errors/index.ts';
import { parsePayload } from './payload.ts';
import type { KeySource } from './requirements.ts';
import { decodeSignature, encodeSignature, splitStored } from './signatures.ts';
import { verifiedPayload } from './sigstore.ts';

const pair = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const [signer, log] = [pair(), pair()];
const pemOf = (key: typeof signer) => key.publicKey.export({ type: 'spki', format: 'pem' }).toString();
const source = (key: typeof signer): KeySource => ({ paths: [], data: [Buffer.from(pemOf(key))] });
const payload = Buffer.from(
  JSON.stringify({
    critical: {
      type: 'cosign container image signature',
      image: { 'docker-manifest-digest': `sha256:${'a'.repeat(64)}` },
      identity: { 'docker-reference': 'x.io/app:1' },
    },
    optional: null,
  }),
);

function signature(): { payload: Buffer; annotations: Map<string, string> } {
  const content = sign('sha256', payload, signer.privateKey).toString('base64');
  const spec = {
    data: { hash: { algorithm: 'sha256', value: createHash('sha256').update(payload).digest('hex') } },
    signature: { content, publicKey: { content: Buffer.from(pemOf(signer)).toString('base64') } },
  };
  const body = Buffer.from(JSON.stringify({ apiVersion: '0.0.1', kind: 'hashedrekord', spec })).toString('base64');
  const entry = { body, integratedTime: 1_700_000_000, logID: 'ab'.repeat(32), logIndex: 3 };
  const promise = sign('sha256', Buffer.from(JSON.stringify(entry)), log.privateKey).toString('base64');
  const bundle = `{"SignedEntryTimestamp":"${promise}","Payload":${JSON.stringify(entry)}}`;
  return {
    payload,
    annotations: new Map([
      ['dev.cosignproject.cosign/signature', content],
      ['dev.sigstore.cosign/bundle', bundle],
    ]),
  };
}

const judge = (of: { payload: Buffer; annotations: ReadonlyMap<string, string> }) =>
  verifiedPayload(
    { kind: 'sigstore', mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json', ...of },
    { kind: 'keys', keys: source(signer) },
    source(log),
  );

describe('a sigstore signature', () => {
  it('[a48] fails for every byte of it that is another', async () => {
    const good = signature();
    assert.equal(parsePayload(await judge(good), 'sigstore').reference, 'x.io/app:1');
    const places = ['payload', ...good.annotations.keys()];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...places), fc.nat(), fc.integer({ min: 1, max: 127 }), async (place, at, change) => {
        const flip = (bytes: Buffer) => {
          const changed = Buffer.from(bytes);
          const index = at % changed.length;
          changed[index] = (changed[index] ?? 0) ^ change;
          return changed;
        };
        const other =
          place === 'payload'
            ? { ...good, payload: flip(good.payload) }
            : {
                ...good,
                annotations: new Map([...good.annotations, [place, flip(Buffer.from(good.annotations.get(place) ?? '')).toString()]]),
              };
        await assert.rejects(judge(other), (error) => error instanceof Error && error.name === 'Failure', `${place} at ${at}`);
      }),
      { numRuns: 400 },
    );
  });

  it('[a48] ends with a refusal for whatever is given as one', async () => {
    const texts = fc.oneof(fc.string(), fc.json(), fc.base64String());
    await fc.assert(
      fc.asyncProperty(texts, texts, async (signed, bundle) => {
        const annotations = new Map([
          ['dev.cosignproject.cosign/signature', signed],
          ['dev.sigstore.cosign/bundle', bundle],
        ]);
        await assert.rejects(judge({ payload, annotations }), (error) => error instanceof Error && error.name === 'Failure');
      }),
    );
  });
});

describe('stored signatures', () => {
  it('[I50] come back as they were', () => {
    const { annotations } = signature();
    const sigstore = { kind: 'sigstore', mediaType: 'x/y', payload, annotations } as const;
    const simple = { kind: 'simple', message: Buffer.from([0x90, 1, 2]) } as const;
    const blobs = [sigstore, simple].map(encodeSignature);
    const sizes = blobs.map(({ length }) => length);
    assert.deepEqual(splitStored(Buffer.concat(blobs), sizes), [sigstore, simple]);
    assert.throws(() => splitStored(Buffer.concat(blobs), [1]), /do not have the sizes/);
    assert.throws(
      () => decodeSignature(Buffer.from('\0other\n{}')),
      (error) => /unrecognized signature format/.test(textOf(error)),
    );
  });
});
