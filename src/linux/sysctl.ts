import { Failure } from '../errors/index.ts';

/** Where a sysctl lies below /proc/sys; refuses a name that leads elsewhere. */
export function sysctlPath(key: string): string {
  // sysctl(8): if a slash comes first in the key, slashes separate and dots are literal; else the other way round.
  const path =
    key.includes('/') && !(key.indexOf('.') >= 0 && key.indexOf('.') < key.indexOf('/'))
      ? key
      : key.replaceAll(/[./]/g, (c) => (c === '.' ? '/' : '.'));
  if (path.split('/').some((part) => part === '..' || part === '')) throw new Failure('InvalidArgument', `invalid sysctl name "${key}"`);
  return `/proc/sys/${path}`;
}

export function sysctlFailure(key: string, value: string, why: string, cause?: unknown): Failure {
  return new Failure('InvalidArgument', `failed to write sysctl "${key}" = "${value}": ${why}`, { cause });
}
