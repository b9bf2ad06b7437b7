import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Digest, type HexId, parseDigest } from '../ids/index.ts';
import { bigDataFileName, isLinkName, layerId, newLinkName } from './names.ts';

const base = '2d85cda501989733e9fd57bddd75287a9f0ec8d275d2b49e55f76d0d6a241e66' as HexId;

test('[J9] a first layer has its DiffID as id, the next ones a hash of parent and DiffID', () => {
  assert.equal(layerId(undefined, `sha256:${base}` as Digest), base);
  // printf %s+%s <base> <base> | sha256sum
  assert.equal(layerId(base, `sha256:${base}` as Digest), 'dd9a2bd576807b1ab16df99ace0ce03ff802e62e5e4c2a2f689cd6d49c35a3d5');
  assert.throws(() => layerId(base, parseDigest(`sha512:${'a'.repeat(128)}`) as Digest), { kind: 'InvalidArgument' });
});

test('big-data names: plain ones stay, others are base64, a bad last character is not noticed', () => {
  assert.equal(bigDataFileName('manifest'), 'manifest');
  assert.equal(bigDataFileName('signatures'), 'signatures');
  assert.equal(
    bigDataFileName('sha256:bd9e64550381e1d135bed27da43cdf86201051287e53b83e8f2e36a26a0420ea'),
    '=c2hhMjU2OmJkOWU2NDU1MDM4MWUxZDEzNWJlZDI3ZGE0M2NkZjg2MjAxMDUxMjg3ZTUzYjgzZThmMmUzNmEyNmEwNDIwZWE=',
  );
  assert.equal(bigDataFileName('zstd-chunked-manifest'), '=enN0ZC1jaHVua2VkLW1hbmlmZXN0');
  assert.equal(bigDataFileName('odd-'), 'odd-');
  assert.equal(bigDataFileName('o-dd'), '=by1kZA==');
  for (const key of ['', '.', '..', 'a/', 'a\0']) assert.throws(() => bigDataFileName(key), { kind: 'InvalidArgument' }, key);
  assert.equal(bigDataFileName('../x'), '=Li4veA==');
});

test('[J23] link names are 26 base32 characters', () => {
  const names = Array.from({ length: 100 }, newLinkName);
  assert.ok(names.every(isLinkName));
  assert.equal(new Set(names).size, 100);
  assert.ok(isLinkName('ZVE7BHOZNETGLGX2NJDX6D3JM6'));
  assert.ok(!isLinkName('../7BHOZNETGLGX2NJDX6D3JM6'));
});
