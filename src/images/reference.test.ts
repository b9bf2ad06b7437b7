import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { kindOf, textOf } from '../errors/index.ts';
import { familiarReference, formatReference, normaliseReference, parseReference, repositoryOf } from './reference.ts';

const HEX = 'a'.repeat(64);

const normal: readonly (readonly [string, string])[] = [
  ['busybox', 'docker.io/library/busybox:latest'],
  ['busybox:1.36', 'docker.io/library/busybox:1.36'],
  ['org/app', 'docker.io/org/app:latest'],
  ['docker.io/busybox', 'docker.io/library/busybox:latest'],
  ['index.docker.io/busybox', 'docker.io/library/busybox:latest'],
  ['docker.io/a/b/c', 'docker.io/a/b/c:latest'],
  ['localhost/x', 'localhost/x:latest'],
  ['localhost:5000/x', 'localhost:5000/x:latest'],
  ['host:5000/x:tag', 'host:5000/x:tag'],
  ['quay.io/a/b', 'quay.io/a/b:latest'],
  ['[2001:db8::1]:5000/x:1', '[2001:db8::1]:5000/x:1'],
  ['[::1]/x', '[::1]/x:latest'],
  [`quay.io/a@sha256:${HEX}`, `quay.io/a@sha256:${HEX}`],
  [`quay.io/a:tag@sha256:${HEX}`, `quay.io/a@sha256:${HEX}`],
  ['quay.io/a__b/c-----d/e.f_g', 'quay.io/a__b/c-----d/e.f_g:latest'],
  ['localhost:5000', 'docker.io/library/localhost:5000'],
];

const refused: readonly (readonly [string, string])[] = [
  ['', 'repository name must have at least one component'],
  ['quay.io/UPPER', 'repository name must be lowercase'],
  ['BUSYBOX', 'repository name must be lowercase'],
  ['quay.io/a b', 'invalid reference format'],
  ['quay.io/a:', 'invalid reference format'],
  ['quay.io//a', 'invalid reference format'],
  ['quay.io/a___b', 'invalid reference format'],
  ['quay.io/a..b', 'invalid reference format'],
  ['quay.io/-a', 'invalid reference format'],
  ['quay.io/a/', 'invalid reference format'],
  ['-host.io/a', 'invalid reference format'],
  ['host.io:port/a', 'invalid reference format'],
  ['[::1/a', 'invalid reference format'],
  [`quay.io/a:${'t'.repeat(129)}`, 'invalid reference format'],
  ['quay.io/a@sha256:abc', 'invalid reference format'],
  [`quay.io/a@sha256:${'a'.repeat(63)}`, 'invalid checksum digest length'],
  [`quay.io/a@sha256:${'A'.repeat(64)}`, 'invalid checksum digest format'],
  [`quay.io/a@md5:${'a'.repeat(32)}`, 'unsupported digest algorithm'],
  [`quay.io/${'a'.repeat(256)}`, 'repository name must not be more than 255 characters'],
  ['quay.io/a\n', 'invalid reference format'],
  ['quay.io/../../etc', 'invalid reference format'],
];

describe('image references', () => {
  it('[I9] gain docker.io/library and :latest, and lose the tag beside a digest', () => {
    for (const [text, expected] of normal) assert.equal(formatReference(normaliseReference(text)), expected, text);
  });

  it('[I9] are refused in the words of the reference', () => {
    for (const [text, expected] of refused) {
      assert.throws(
        () => parseReference(text),
        (error) => kindOf(error) === 'InvalidArgument' && textOf(error) === expected,
        text,
      );
    }
    assert.throws(() => normaliseReference(HEX), /cannot specify 64-byte hexadecimal strings/);
    assert.throws(() => normaliseReference('quay.io/Upper'), /^Failure: invalid reference format: repository name must be lowercase$/);
  });

  it('print shortly what lives in the Docker Hub', () => {
    assert.equal(familiarReference(normaliseReference('docker.io/library/busybox')), 'busybox:latest');
    assert.equal(familiarReference(normaliseReference('org/app:1')), 'org/app:1');
    assert.equal(familiarReference(normaliseReference('quay.io/app')), 'quay.io/app:latest');
  });

  const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?$/);
  const component = fc.stringMatching(/^[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,3}){0,3}$/);
  const domain = fc
    .tuple(fc.array(label, { minLength: 2, maxLength: 3 }), fc.option(fc.integer({ min: 1, max: 65535 }), { nil: undefined }))
    .map(([labels, port]) => labels.join('.') + (port === undefined ? '' : `:${port}`));
  const path = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
  const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}$/);

  it('[I9] come out of their printed form unchanged, whatever domain, path and tag', () => {
    fc.assert(
      fc.property(domain, path, tag, (d, p, t) => {
        const reference = normaliseReference(`${d}/${p}:${t}`);
        assert.deepEqual(normaliseReference(formatReference(reference)), reference);
        assert.equal(repositoryOf(reference), `${d}/${p}`);
        assert.equal(reference.tag, t);
      }),
    );
  });

  it('fail with a known error or give a fixed point, for any text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-zA-Z0-9._\-/:@[\]]{0,40}$/)), (text) => {
        let once;
        try {
          once = formatReference(normaliseReference(text));
        } catch (error) {
          assert.equal(kindOf(error), 'InvalidArgument');
          return;
        }
        assert.equal(formatReference(normaliseReference(once)), once);
      }),
    );
  });

  it('[a77] are judged in linear time', () => {
    for (const unit of ['a', '/', ':', '@', '-', 'a-', '.', 'a/', '_', '[']) {
      const text = unit.repeat(1_000_000 / unit.length);
      const before = process.threadCpuUsage(); // Of this thread alone: others keep the machine busy.
      assert.throws(() => normaliseReference(text));
      const { user } = process.threadCpuUsage(before);
      assert.ok(user < 100_000, `${unit}: ${user / 1000} ms`);
    }
  });

  it('[a43] have a digest of exact form: no single changed byte of it passes as another', () => {
    const good = `sha256:${HEX}`;
    for (let at = 0; at < good.length; at++) {
      for (let byte = 0; byte < 256; byte++) {
        const char = String.fromCharCode(byte);
        if (/[0-9a-f]/.test(char) && at >= 7) continue;
        const text = `quay.io/a@${good.slice(0, at)}${char}${good.slice(at + 1)}`;
        if (text !== `quay.io/a@${good}`) assert.throws(() => parseReference(text), text);
      }
    }
  });
});
