import koffi from 'koffi';
import { constants } from 'node:os';
import { Failure, type FailureKind } from '../errors/index.ts';

/** The C library. Only this folder touches koffi; a function declared here never blocks unless its comment says so. */
export const libc = koffi.load('libc.so.6');

const errnoNames = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));

export function errnoName(errno: number): string {
  return errnoNames.get(errno) ?? `errno ${errno}`;
}

const KINDS: Readonly<Record<string, FailureKind>> = {
  ENOENT: 'NotFound',
  EEXIST: 'AlreadyExists',
  EPERM: 'PermissionDenied',
  EACCES: 'PermissionDenied',
  ENOSPC: 'ResourceExhausted',
  EDQUOT: 'ResourceExhausted',
  EMFILE: 'ResourceExhausted',
  ENFILE: 'ResourceExhausted',
  ENOMEM: 'ResourceExhausted',
};

/** The error of the call that just returned −1; `code` is the errno's name. Call it before anything else runs. */
export function lastError(call: string, on: string): Failure {
  return syscallFailure(call, on, koffi.errno());
}

export function syscallFailure(call: string, on: string, errno: number): Failure {
  const name = errnoName(errno);
  return new Failure(KINDS[name] ?? 'Unknown', `${call} ${on}: ${strerror(errno)}`, { code: name });
}

export function lastErrno(): number {
  return koffi.errno();
}

const strerrorFn = libc.func('const char *strerror(int)');
function strerror(errno: number): string {
  return String(strerrorFn(errno)).toLowerCase();
}
