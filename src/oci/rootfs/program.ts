import { posix } from 'node:path';
import { elfMachine, readHeadInRoot } from '../../linux/index.ts';
import type { OciProcess } from '../spec/index.ts';

/** As much as the kernel looks at, BINPRM_BUF_SIZE. */
const HEAD_BYTES = 256;
/** Scripts whose interpreters are scripts. */
const MAX_SCRIPTS = 4;

/**
 * `e_machine` (elf(5)) of the program that a process in this root starts, or of a script's interpreter; undefined where nothing tells:
 * it is not there, or no ELF file. Looked for as the runtime does: in PATH unless its name has a slash.
 */
export function machineOfProgram(rootFd: number, { args, env, cwd }: Pick<OciProcess, 'args' | 'env' | 'cwd'>): number | undefined {
  let program = args[0] ?? '';
  for (let script = 0; script <= MAX_SCRIPTS; script++) {
    const head = headOf(rootFd, placesOf(program, env, cwd));
    const interpreter = head === undefined ? undefined : /^#![ \t]*([^ \t\n]+)/.exec(head.toString('latin1'))?.[1];
    if (interpreter === undefined) return head === undefined ? undefined : elfMachine(head);
    program = interpreter;
  }
  return undefined;
}

function placesOf(program: string, env: readonly string[], cwd: string): readonly string[] {
  if (program.includes('/')) return [posix.resolve(cwd, program)];
  const path = env.findLast((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? '';
  return path.split(':').map((directory) => posix.resolve(cwd, directory, program));
}

function headOf(rootFd: number, places: readonly string[]): Buffer | undefined {
  for (const place of places) {
    const head = readHeadInRoot(rootFd, place, HEAD_BYTES);
    if (head !== undefined) return head;
  }
  return undefined;
}
