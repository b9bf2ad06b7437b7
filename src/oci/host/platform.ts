import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { elfMachine } from '../../linux/index.ts';

const EMULATORS = '/proc/sys/fs/binfmt_misc';

/** ELF's numbers of the architectures that images name. */
const MACHINES: Readonly<Record<string, number>> = {
  '386': 3,
  amd64: 62,
  arm: 40,
  arm64: 183,
  loong64: 258,
  mips64le: 8,
  ppc64le: 21,
  riscv64: 243,
  s390x: 22,
};
/** What a kernel runs beside its own. */
const SIDELINE: Readonly<Record<string, string>> = { amd64: '386', arm64: 'arm' };
const OTHER_SYSTEMS: readonly string[] = ['windows', 'darwin', 'freebsd'];

/**
 * Whether programs of an image's platform can be executed on this machine, by its kernel or by an emulator that is registered with
 * it (p53). A platform that is not known may be anything, WebAssembly for instance: it can.
 */
export function executes({ os, architecture }: { readonly os: string; readonly architecture: string }, own: string): boolean {
  if (OTHER_SYSTEMS.includes(os)) return false;
  const machine = machineNamed(architecture);
  return machine === undefined || architecture === own || executesMachine(machine, own);
}

/** Whether a program with that `e_machine` can be executed on a machine of architecture `own`. */
export function executesMachine(machine: number, own: string): boolean {
  return machine === machineNamed(own) || machine === machineNamed(SIDELINE[own] ?? '') || emulated(EMULATORS).has(machine);
}

function machineNamed(architecture: string): number | undefined {
  return Object.hasOwn(MACHINES, architecture) ? MACHINES[architecture] : undefined;
}

/** ELF's numbers of what the enabled handlers in a directory of binfmt_misc take. */
export function emulated(directory: string): ReadonlySet<number> {
  return new Set(namesIn(directory).flatMap((name) => machineOf(textOf(join(directory, name))) ?? []));
}

function machineOf(handler: string): number | undefined {
  const magic = /^enabled\n[^]*^offset 0\nmagic (7f454c46(?:[0-9a-f]{2}){16,})$/m.exec(handler)?.[1];
  return magic === undefined ? undefined : elfMachine(Buffer.from(magic, 'hex'));
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // Not mounted, or not in this kernel: no emulator.
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // `register` can only be written.
  }
}
