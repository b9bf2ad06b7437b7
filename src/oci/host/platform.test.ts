import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { emulated, executes } from './platform.ts';

test('[p53] programs of another architecture are not executed, unless the kernel or an emulator can; what is unknown may be anything', () => {
  const on = (own: string) => (os: string, architecture: string) => executes({ os, architecture }, own);
  for (const [os, architecture] of [
    ['linux', 'amd64'],
    ['', ''],
    ['linux', '386'],
    ['wasip1', 'wasm'],
    ['linux', 'constructor'],
  ] as const)
    assert.ok(on('amd64')(os, architecture), `${os}/${architecture}`);
  assert.ok(on('arm64')('linux', 'arm'));
  assert.ok(!on('arm64')('linux', 'mips64le'));
  assert.ok(!on('amd64')('windows', 'amd64'));
});

test('[p53] emulators are known by what they are registered for, not by their names', () => {
  const dir = mkdtempSync(join(tmpdir(), 'binfmt-'));
  const handler = (name: string, state: string, magic: string) =>
    writeFileSync(join(dir, name), `${state}\ninterpreter /usr/bin/x\nflags: OCF\noffset 0\nmagic ${magic}\nmask ${'f'.repeat(40)}\n`);
  handler('qemu-s390x', 'enabled', '7f454c4602020100000000000000000000020016');
  handler('an-arm', 'enabled', '7f454c460201010000000000000000000200b700');
  handler('qemu-riscv64', 'disabled', '7f454c460201010000000000000000000200f300');
  handler('short', 'enabled', '7f454c46');
  writeFileSync(join(dir, 'status'), 'enabled\n');
  assert.deepEqual(
    [...emulated(dir)].sort((a, b) => a - b),
    [22, 183],
  );
  assert.equal(emulated(join(dir, 'nowhere')).size, 0);
  rmSync(dir, { recursive: true });
});
