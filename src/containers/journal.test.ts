import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { newHexId } from '../ids/index.ts';
import { Journal } from './journal.ts';

async function withJournal(work: (journal: Journal, directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'journal-'));
  try {
    const journal = new Journal(directory);
    await journal.prepare();
    await work(journal, directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('what was begun and not ended is open, containers before their pods', async () => {
  await withJournal(async (journal) => {
    const [pod, container, done] = [newHexId(), newHexId(), newHexId()];
    await journal.begin({ kind: 'sandbox', id: pod, runtimeHandler: 'runc', logPath: '/l', sandbox: { pins: {} } });
    await journal.begin({ kind: 'container', id: container, runtimeHandler: '', logPath: '/l/c' });
    const entry = await journal.begin({ kind: 'container', id: done, runtimeHandler: '', logPath: '' });
    await entry.end();
    assert.deepEqual(
      (await journal.open()).map(({ id }) => id),
      [container, pod],
    );
    await journal.forget(container);
    await journal.forget(pod);
    assert.deepEqual(await journal.open(), []);
  });
});

test('a broken entry still names what it stood for; a write that was cut off is swept', async () => {
  await withJournal(async (journal, directory) => {
    const id = newHexId();
    writeFileSync(join(directory, `${id}.json`), '{"kind":"sand');
    writeFileSync(join(directory, `.tmp-${id}.json123`), 'x');
    assert.deepEqual(await journal.open(), [{ kind: 'container', id, runtimeHandler: '', logPath: '' }]);
    assert.deepEqual(readdirSync(directory), [`${id}.json`]);
  });
});

test('[p02] what could not be undone stays on disk, and somebody is told before the creation is answered', async () => {
  await withJournal(async (journal) => {
    const told: unknown[] = [];
    journal.onDebris = async ({ id }, leftovers) => void told.push([id, leftovers]);
    const [id, image] = [newHexId(), newHexId()];
    const entry = await journal.begin({ kind: 'container', id, runtimeHandler: '', logPath: '' });
    await Promise.all([entry.willMount(image), entry.willMount(image)]);
    await entry.end(['unmount it']);
    assert.deepEqual(told, [[id, ['unmount it']]]);
    assert.deepEqual((await journal.open())[0]?.imageVolumes, [image, image]);
  });
});
