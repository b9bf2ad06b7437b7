import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { codeOf, textOf } from '../../errors/index.ts';
import { sha256 } from '../../ids/index.ts';
import { normaliseReference } from '../reference.ts';
import { enforcePolicy } from './enforce.ts';
import { loadPolicy, parsePolicy, requirementsFor } from './policy.ts';

const ACCEPT = [{ type: 'insecureAcceptAnything' }];
const REJECT = [{ type: 'reject' }];
const parse = (policy: unknown) => parsePolicy(JSON.stringify(policy));

describe('the signature policy', () => {
  it('[I30] chooses the nearest scope', () => {
    const docker = {
      '': [{ type: 'signedBy', keyType: 'GPGKeys', keyPath: '/all' }],
      'x.io/a/b:1': ACCEPT,
      'x.io/a/b': REJECT,
      'x.io/a': ACCEPT,
      '*.y.io': REJECT,
      '*.b.y.io': ACCEPT,
      'host:5000': ACCEPT,
    };
    const policy = parse({ default: REJECT, transports: { docker, 'docker-daemon': { '': ACCEPT } } });
    const first = (name: string) => requirementsFor(policy, normaliseReference(name))[0]?.type;
    assert.equal(first('x.io/a/b:1'), 'insecureAcceptAnything');
    assert.equal(first('x.io/a/b:2'), 'reject');
    assert.equal(first('x.io/a/c'), 'insecureAcceptAnything');
    assert.equal(first('x.io/other'), 'signedBy');
    assert.equal(first('a.y.io/app'), 'reject');
    assert.equal(first('a.b.y.io:444/app'), 'insecureAcceptAnything');
    assert.equal(first('host:5000/app'), 'insecureAcceptAnything');
    assert.equal(requirementsFor(parse({ default: REJECT }), normaliseReference('x.io/a'))[0]?.type, 'reject');
  });

  it('[I30] is refused unless all of it is understood', () => {
    const refused: readonly (readonly [unknown, RegExp])[] = [
      [{}, /Default policy is missing/],
      [{ default: [] }, /List of verification policy requirements must not be empty/],
      [{ default: ACCEPT, extra: 1 }, /Unknown key "extra"/],
      [{ default: [{ type: 'reject', also: 1 }] }, /Unknown key "also"/],
      [{ default: [{ type: 'hope' }] }, /Unknown policy requirement type "hope"/],
      [{ default: [{}] }, /Unknown policy requirement type ""/],
      [{ default: ACCEPT, transports: { docker: { 'x.io': [] } } }, /must not be empty/],
      [{ default: ACCEPT, transports: { other: { 'x.io': [{ type: 'hope' }] } } }, /Unknown policy requirement type/],
    ];
    for (const [policy, text] of refused) assert.throws(() => parse(policy), text);
  });

  it('[I30] refuses requirements that are half said or said twice', () => {
    const gpg = { type: 'signedBy', keyType: 'GPGKeys', keyPath: '/k' };
    const sigstore = { type: 'sigstoreSigned', keyPath: '/k' };
    const fulcio = { caPath: '/ca', oidcIssuer: 'https://x', subjectEmail: 'a@x' };
    const refused: readonly (readonly [unknown, RegExp])[] = [
      [{ ...gpg, keyType: 'X509Certificates' }, /Unimplemented "keyType" value "X509Certificates"/],
      [{ ...gpg, keyPath: undefined }, /exactly one of keyPath, keyPaths and keyData/],
      [{ ...gpg, keyPaths: ['/other'] }, /only one of keyPath and keyPaths/],
      [{ ...gpg, keyPath: undefined, keyPaths: [] }, /keyPaths is empty/],
      [{ ...gpg, keyPath: undefined, keyData: '*' }, /keyData is no base64 text/],
      [{ ...gpg, extra: 1 }, /Unknown key "extra"/],
      [{ ...gpg, signedIdentity: { type: 'hope' } }, /Unknown policy reference match type "hope"/],
      [{ ...gpg, signedIdentity: { type: 'exactReference', dockerReference: 'x.io/a' } }, /contains neither a tag nor digest/],
      [{ ...gpg, signedIdentity: { type: 'exactRepository' } }, /dockerRepository is missing/],
      [{ ...gpg, signedIdentity: { type: 'remapIdentity', prefix: 'x.io:tag/a:b', signedPrefix: 'y.io' } }, /./],
      [{ type: 'sigstoreSigned' }, /exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki/],
      [{ ...sigstore, fulcio }, /exactly one of/],
      [{ type: 'sigstoreSigned', fulcio }, /must be specified if fulcio is used/],
      [{ type: 'sigstoreSigned', fulcio: { ...fulcio, oidcIssuer: '' }, rekorPublicKeyPath: '/r' }, /oidcIssuer not specified/],
      [{ type: 'sigstoreSigned', pki: { caRootsPath: '/r' } }, /at least one of subjectEmail and subjectHostname/],
      [{ type: 'sigstoreSigned', pki: { caRootsPath: '/r', subjectEmail: 'a@x' }, rekorPublicKeyPath: '/r' }, /not supported for pki/],
    ];
    for (const [requirement, text] of refused) assert.throws(() => parse({ default: [requirement] }), text, JSON.stringify(requirement));
    assert.throws(() => parsePolicy('{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}'), /occurs twice/);
  });

  it('[I31] lets nothing through that it does not find fulfilled', async () => {
    const candidate = { reference: normaliseReference('x.io/a'), digest: sha256('x'), signatures: [] };
    await enforcePolicy(parse({ default: ACCEPT }), candidate);
    const refusal = async (requirements: unknown) => {
      try {
        await enforcePolicy(parse({ default: requirements }), candidate);
      } catch (error) {
        assert.equal(codeOf(error), 'POLICY_REFUSAL');
        return textOf(error);
      }
      return undefined;
    };
    assert.equal(await refusal(REJECT), 'Running image docker://x.io/a:latest is rejected by policy.');
    const missing = 'A signature was required, but no signature exists';
    assert.equal(await refusal([...ACCEPT, { type: 'signedBy', keyType: 'GPGKeys', keyPath: '/k' }]), missing);
    assert.equal(await refusal([...ACCEPT, { type: 'sigstoreSigned', keyPath: '/k' }]), missing);
    assert.match((await refusal([{ type: 'signedBaseLayer', baseLayerIdentity: { type: 'matchExact' } }])) ?? '', /not implemented/);
  });
});

describe('the policy files', () => {
  const dir = mkdtempSync(join(tmpdir(), 'policy-'));
  after(() => rmSync(dir, { recursive: true }));
  const write = (name: string, policy: unknown) => {
    writeFileSync(join(dir, name), typeof policy === 'string' ? policy : JSON.stringify(policy));
    return join(dir, name);
  };

  it("[I28, I29] are the namespace's, else the configured, else the first default", async () => {
    const configured = write('configured.json', { default: REJECT });
    const fallback = write('default.json', { default: ACCEPT });
    write('team.json', { default: [{ type: 'signedBy', keyType: 'GPGKeys', keyPath: '/k' }] });
    const load = async (file: string, namespace?: string) =>
      (await loadPolicy({ file, defaults: [join(dir, 'none.json'), fallback], namespaceDir: dir }, namespace)).fallback[0]?.type;
    assert.equal(await load(''), 'insecureAcceptAnything');
    assert.equal(await load(configured), 'reject');
    assert.equal(await load(configured, 'other'), 'reject');
    assert.equal(await load(configured, 'team'), 'signedBy');
    await assert.rejects(load('', '../team'), /invalid namespace/);
    await assert.rejects(load(join(dir, 'none.json')), { code: 'ENOENT' });
  });

  it('[I28] fail the pull where there is none, or a broken one', async () => {
    const defaults = [join(dir, 'none.json'), join(dir, 'neither.json')];
    await assert.rejects(loadPolicy({ file: '', defaults, namespaceDir: '' }, undefined), {
      message: `no policy.json file found at any of the following: "${defaults[0]}", "${defaults[1]}"`,
    });
    const broken = write('broken.json', '{');
    await assert.rejects(loadPolicy({ file: broken, defaults: [], namespaceDir: '' }, undefined), {
      message: `invalid policy in "${broken}": policy: invalid JSON`,
    });
  });
});
