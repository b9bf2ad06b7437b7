// posix-lock.ts FILE: takes the POSIX record lock that Go's tools take, says `held`, and keeps it until its input ends.
import koffi from 'koffi';
import { openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const F_SETLKW = 7;
const F_WRLCK = 1;

/** The words that run this file for a lock file. */
export function posixLocker(file: string): [string, ...string[]] {
  return [process.execPath, '--disable-warning=ExperimentalWarning', fileURLToPath(import.meta.url), file];
}

if (import.meta.main) {
  const fcntl = koffi.load('libc.so.6').func('int fcntl(int, int, void *)');
  const wholeFile = Buffer.alloc(32);
  wholeFile.writeInt16LE(F_WRLCK, 0);
  if (fcntl(openSync(process.argv[2] ?? '', 'r+'), F_SETLKW, wholeFile) !== 0) throw new Error(`cannot lock: errno ${koffi.errno()}`);
  process.stdout.write('held\n');
  process.stdin.resume();
}
