import { readFileSync, writeSync } from 'node:fs';
import { OwnedFd } from './fd.ts';
import { libc, lastError } from './libc.ts';

const memfdCreateFn = libc.func('int memfd_create(const char *, unsigned int)');
const fcntlFn = libc.func('int fcntl(int, int, int)');

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
/** Asks for what older kernels give without asking; they refuse the word (EINVAL). */
const MFD_EXEC = 0x10;
const F_ADD_SEALS = 1033;
const F_SEAL_SEAL_SHRINK_GROW_WRITE = 0x0f;

/** A copy of a program in memory that nobody can change any more, root neither: memfd_create(2) with all seals. Fails with errno's name. */
export function sealedCopy(path: string): OwnedFd {
  const bytes = readFileSync(path);
  const copy = new OwnedFd(createMemfd(path));
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(copy.fd, bytes, at);
    if (Number(fcntlFn(copy.fd, F_ADD_SEALS, F_SEAL_SEAL_SHRINK_GROW_WRITE)) !== 0) throw lastError('fcntl F_ADD_SEALS', path);
    return copy;
  } catch (error) {
    copy[Symbol.dispose]();
    throw error;
  }
}

function createMemfd(name: string): number {
  for (const flags of [MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC, MFD_CLOEXEC | MFD_ALLOW_SEALING]) {
    const fd = Number(memfdCreateFn(name, flags));
    if (fd >= 0) return fd;
  }
  throw lastError('memfd_create', name);
}
