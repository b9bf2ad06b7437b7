import { Failure, codeOf, wrap } from '../../errors/index.ts';
import { E, type Owner, chownAt, mkdirAllInRoot, orThrow, symlinkAt } from '../../linux/index.ts';

/**
 * Makes /etc if it is missing and /etc/mtab → /proc/mounts if that is, both inside the root whatever links the image
 * brings [F72, a24]. Something else than a directory under /etc is answered as a warning.
 */
export function prepareEtc(rootFd: number, owner: Owner | undefined): string | undefined {
  try {
    using etc = mkdirAllInRoot(rootFd, '/etc', 0o755, owner);
    const made = symlinkAt('/proc/mounts', etc.fd, 'mtab');
    if (made === E.EXIST) return undefined;
    orThrow(made, 'symlink', '/etc/mtab');
    if (owner !== undefined) orThrow(chownAt(etc.fd, 'mtab', owner.uid, owner.gid), 'chown', '/etc/mtab');
    return undefined;
  } catch (error) {
    if (codeOf(error) === 'ENOTDIR') return 'The /etc of the image is not a directory: /etc/mtab was not made';
    throw wrap('failed to create container /etc directory', error);
  }
}

/** Makes the working directory, 0755 and the mapped root's, inside the root [F16, a35]. */
export function prepareWorkingDirectory(rootFd: number, cwd: string, owner: Owner | undefined): void {
  if (cwd === '/') return;
  try {
    mkdirAllInRoot(rootFd, cwd, 0o755, owner)[Symbol.dispose]();
  } catch (error) {
    if (codeOf(error) === 'ENOTDIR')
      throw new Failure('InvalidArgument', `working directory "${cwd}" cannot be made: a part of it is a file of the image`, {
        cause: error,
      });
    throw wrap(`failed to create working directory "${cwd}"`, error);
  }
}
