import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { silentLogger } from '../log/index.ts';
import { StateFiles, shutdownWasUnclean } from './version-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'state-files-'));
after(() => rmSync(directory, { recursive: true }));

const warnings: string[] = [];
const log = { ...silentLogger, warn: (text: string) => void warnings.push(text) };

function files(o: { version?: string; persist?: string } = {}) {
  const root = mkdtempSync(join(directory, 'run-'));
  const path = (name: string, text: string | undefined) => {
    if (text !== undefined) writeFileSync(join(root, name), text);
    return join(root, name);
  };
  return {
    root,
    version: path('version', o.version),
    clean: join(root, 'lib', 'clean.shutdown'),
    persist: 'persist' in o ? path('persist', o.persist) : '',
  };
}

function stateFiles(at: ReturnType<typeof files>): StateFiles {
  return new StateFiles({ versionFile: at.version, versionFilePersist: at.persist, cleanShutdownFile: at.clean, log });
}

const CASES: readonly (readonly [what: string, version: string | undefined, wipe: boolean])[] = [
  ['missing', undefined, true],
  ['empty', '', true],
  ['no JSON', '1.37.0', true],
  ['no string', '{"version":"1.37.0"}', true],
  ['no version', '"latest"', true],
  ['another minor, older', '"1.36.4"', true],
  ['another minor, newer', '"1.38.0"', true],
  ['another major', '"2.37.0"', true],
  ['another patch and build', '"1.37.9+f954a17e505f8931e91004403b5f5eac71ab6085"', false],
  ["CRI-O's first", '"1.37.0"', false],
];

for (const [what, version, wipe] of CASES) {
  test(`[O31 J48 B20 B21] version file ${what}: ${wipe ? 'wipe' : 'no wipe'}`, async () => {
    const at = files(version === undefined ? {} : { version });
    assert.deepEqual(await stateFiles(at).wipeDecision(), { pods: wipe, images: false });
    const persist = files({ version: '"1.37.0"', ...(version === undefined ? { persist: undefined as never } : { persist: version }) });
    assert.deepEqual(await stateFiles(persist).wipeDecision(), { pods: wipe, images: wipe });
  });
}

test('[O31] what is wrong with a file that cannot be read is said', async () => {
  warnings.length = 0;
  const at = files({ version: 'x', persist: '"?"' });
  await stateFiles(at).wipeDecision();
  await stateFiles({ ...at, persist: '' }).wipeDecision();
  assert.match(
    warnings[0] ?? '',
    /^Error encountered when checking whether cri-o should wipe images: version file .*persist malformatted: /,
  );
  assert.match(
    warnings[1] ?? '',
    /^Error encountered when checking whether cri-o should wipe containers: version file .*version malformatted: /,
  );
});

test('[O33 B20] files that are not configured wipe nothing and are not written', async () => {
  const state = new StateFiles({ versionFile: '', versionFilePersist: '', cleanShutdownFile: '', log });
  assert.deepEqual(await state.wipeDecision(), { pods: false, images: false });
  await state.begin();
  await state.end();
  assert.equal(shutdownWasUnclean(''), false);
});

test('[O29 O30 J47 J50] the version is one JSON string, 0644, and fits the next start', async () => {
  const at = files({ persist: 'x' });
  const state = stateFiles(at);
  await state.begin();
  for (const path of [at.version, at.persist]) {
    assert.match(readFileSync(path, 'utf8'), /^"1\.37\.\d+\+crio-ts\.\d+"$/);
    assert.equal(statSync(path).mode & 0o777, 0o644);
  }
  assert.deepEqual(await state.wipeDecision(), { pods: false, images: false });
});

test('[O34 O35 J51 J52 B22] a run that did not end in order is known to the next', async () => {
  const at = files();
  const state = stateFiles(at);
  assert.equal(shutdownWasUnclean(at.clean), false, 'a first start has nothing to say');
  await state.begin();
  assert.ok(existsSync(`${at.clean}.supported`));
  assert.equal(shutdownWasUnclean(at.clean), true);
  await state.end();
  assert.deepEqual([statSync(at.clean).size, shutdownWasUnclean(at.clean)], [0, false]);
  await state.begin();
  assert.equal(existsSync(at.clean), false);
});
