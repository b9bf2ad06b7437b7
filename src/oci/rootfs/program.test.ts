import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openRoot } from '../../linux/index.ts';
import { machineOfProgram } from './program.ts';

test('[p53] the machine of a program is that of the file, or of the interpreter, that the runtime would execute; links stay in the root', () => {
  const dir = mkdtempSync(join(tmpdir(), 'program-'));
  mkdirSync(join(dir, 'bin'));
  const elf = (order: string, machine: string) => Buffer.from(`7f454c46020${order}01000000000000000000${'0200'}${machine}`, 'hex');
  writeFileSync(join(dir, 'bin/big'), elf('2', '0016'));
  writeFileSync(join(dir, 'bin/little'), elf('1', 'b700'));
  writeFileSync(join(dir, 'bin/script'), '#!  /bin/little -x\n');
  writeFileSync(join(dir, 'bin/loop'), '#!/bin/loop\n');
  writeFileSync(join(dir, 'bin/text'), 'echo\n');
  writeFileSync(join(dir, 'bin/empty'), '');
  symlinkSync('/bin/little', join(dir, 'bin/link'));
  for (const name of ['big', 'little', 'script']) chmodSync(join(dir, 'bin', name), 0o755);
  using root = openRoot(dir);
  const machine = (program: string, path = '/sbin:/bin', cwd = '/') =>
    machineOfProgram(root.fd, { args: [program], env: ['PATH=/nowhere', 'A=b', `PATH=${path}`], cwd });
  assert.deepEqual(
    ['big', 'little', '/bin/little', 'script', 'link', './bin/little', 'nowhere', 'loop', 'text', 'empty', '/bin'].map((name) =>
      machine(name),
    ),
    [22, 183, 183, 183, 183, 183, undefined, undefined, undefined, undefined, undefined],
  );
  assert.equal(machine('little', ''), undefined);
  assert.equal(machine('./little', '', '/bin'), 183);
  rmSync(dir, { recursive: true });
});
