import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createLogger } from '../../log/index.ts';
import { RuntimePrograms } from './programs.ts';
import { crunMapsIds, parseFeatures, probeFeatures } from './features.ts';

const directory = mkdtempSync(join(tmpdir(), 'crio-features-'));
after(() => rmSync(directory, { recursive: true }));

async function probe(name: string, features: string) {
  const path = join(directory, name);
  writeFileSync(path, `#!/bin/sh\n[ "$1" = features ] || { echo "${name} version 9"; echo "commit: x"; exit; }\n${features}\n`);
  chmodSync(path, 0o755);
  const lines: string[] = [];
  const log = createLogger({ level: 'debug', filter: undefined, write: (line) => void lines.push(line) });
  return { path, lines, features: await probeFeatures(path, new RuntimePrograms(), { PATH: process.env['PATH'] ?? '' }, log) };
}

const document = {
  ociVersionMin: '1.0.0',
  ociVersionMax: '1.2.0',
  mountOptions: ['ro', 'rro'],
  linux: { namespaces: ['user'], mountExtensions: { idmap: { enabled: true } } },
  potentiallyUnsafeConfigAnnotations: ['run.oci.'],
};

test('[K17 K18] the version is logged; id-mapped mounts, recursive read-only and the versions are what features says', async () => {
  const { path, lines, features } = await probe('crun-new', `echo '${JSON.stringify(document)}'`);
  assert.ok(lines.some((line) => line.includes(`Runtime ${path}: crun-new version 9, commit: x`)));
  assert.deepEqual([features.idmapMounts, features.recursiveReadOnly, features.ociVersionMax, features.crun], [true, true, '1.2.0', true]);
  const { features: off } = await probe('runc-off', `echo '${JSON.stringify({ ...document, mountOptions: ['ro'], linux: {} })}'`);
  assert.deepEqual([off.idmapMounts, off.recursiveReadOnly, off.crun], [false, false, false]);
});

for (const [name, script, why] of [
  ['old', 'echo "unknown command" >&2; exit 1', /unknown command: exit status 1/],
  ['text', 'echo no JSON', /assuming none: .*JSON/],
  ['empty', 'echo "{}"', /assuming none: runtime features structure is not valid/],
] as const) {
  test(`[K17] a runtime that does not tell its features has none, which is logged (${name})`, async () => {
    const { lines, features } = await probe(name, script);
    assert.ok(
      lines.some((line) => why.test(line)),
      lines.join(''),
    );
    assert.deepEqual([features.idmapMounts, features.recursiveReadOnly, features.ociVersionMin], [false, false, undefined]);
  });
}

test('[K18] a crun without a features command is judged by its version', () => {
  for (const [text, expected] of [
    ['crun version 1.8.1\ncommit: x\n', true],
    ['crun version 1.8\n', false],
    ['crun version 1.8.5\n', true],
    ['crun version 0.20.1\n', false],
    ['crun version 2.0\n', true],
    ['crun version UNKNOWN\n', false],
    ['runc version 1.9.0\n', false],
  ] as const)
    assert.equal(crunMapsIds(text), expected, text);
});

test('[K17 K18] what a runtime does not say of itself is off', () => {
  for (const nonsense of [null, 5, [], {}, { linux: 5, mountOptions: 'rro' }, { linux: { mountExtensions: { idmap: { enabled: 1 } } } }]) {
    const { idmapMounts, recursiveReadOnly } = parseFeatures(nonsense);
    assert.deepEqual([idmapMounts, recursiveReadOnly], [false, false]);
  }
  const { idmapMounts, recursiveReadOnly } = parseFeatures({
    mountOptions: ['rro'],
    linux: { mountExtensions: { idmap: { enabled: true } } },
  });
  assert.deepEqual([idmapMounts, recursiveReadOnly], [true, true]);
});
