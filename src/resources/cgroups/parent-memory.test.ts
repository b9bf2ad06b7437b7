import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkParentMemory } from './index.ts';

const root = mkdtempSync(join(tmpdir(), 'crio-cgroup-'));
after(() => rmSync(root, { recursive: true }));
const MIN = 12n * 1024n * 1024n;

/** A hierarchy of version 2 whose `a.slice/a-b.slice` has that limit. */
function limited(text: string): string {
  const directory = join(root, 'a.slice/a-b.slice');
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(root, 'cgroup.controllers'), '');
  writeFileSync(join(directory, 'memory.max'), text);
  return root;
}

test('[D59] the memory of a pod’s cgroup must reach the handler’s minimum', () => {
  const check = (text: string) => checkParentMemory('systemd', 'a-b.slice', MIN, limited(text));
  assert.throws(() => check(`${MIN - 1n}\n`), { message: `pod set memory limit ${MIN - 1n} too low; should be at least ${MIN} bytes` });
  for (const enough of ['max\n', '', '0\n', `${MIN}\n`]) assert.equal(check(enough), undefined);
  assert.throws(() => check('much\n'), { message: 'error converting cgroup memory value from string to int "much"' });
  assert.equal(checkParentMemory('systemd', 'c.slice', MIN, root), 'Failed to find memory.max at path: "/c.slice"');
  assert.equal(checkParentMemory('systemd', '', MIN, root), undefined);
});
