import { copyFile, realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import { E, O, type Owner, chownAt, mkdirAllInRoot, orThrow, symlinkAt, tryOpenInRoot, unlinkAt } from '../../linux/index.ts';
import type { OciMount } from '../spec/index.ts';

const ZONES = '/usr/share/zoneinfo';

export interface TimezoneRequest {
  readonly containerId: string;
  /** `timezone` of the configuration: empty, `local`, or a zone's name. */
  readonly timezone: string;
  readonly rootFd: number;
  readonly runDir: string;
  readonly readonlyRoot: boolean;
  readonly owner: Owner | undefined;
}

/**
 * /etc/localtime [F73]: a link where the image has the zone's file, else the host's file bound from the run directory.
 * `Local` is taken as `local` (CRI-O's check accepts both, but then fails on it).
 */
export async function prepareTimezone(request: TimezoneRequest): Promise<OciMount | undefined> {
  const { timezone, rootFd } = request;
  if (timezone === '') return undefined;
  try {
    const local = timezone.toLowerCase() === 'local';
    const hostFile = local ? await realpath('/etc/localtime') : zoneFile(timezone);
    const inImage = hostFile.startsWith(`${ZONES}/`) && exists(rootFd, hostFile);
    if (inImage) {
      linkLocaltime(rootFd, hostFile, request.owner);
      return undefined;
    }
    const copy = join(request.runDir, 'localtime');
    await copyFile(hostFile, copy);
    const access = request.readonlyRoot ? 'ro' : 'rw';
    return { destination: '/etc/localtime', type: 'bind', source: copy, options: [access, 'bind', 'nodev', 'nosuid', 'noexec'] };
  } catch (error) {
    const inner = wrap(`setting timezone for container ${request.containerId}`, codeOf(error) === 'ENOENT' ? missing(timezone) : error);
    throw wrap(`failed to configure timezone for container ${request.containerId}`, inner);
  }
}

function missing(timezone: string): Failure {
  return new Failure('NotFound', `the zone "${timezone}" has no file on this host`, { advice: `Look below ${ZONES} for its name.` });
}

function zoneFile(timezone: string): string {
  const file = join(ZONES, timezone);
  if (relative(ZONES, file).startsWith('..') || timezone.includes('\0'))
    throw new Failure('InvalidArgument', `invalid timezone: ${timezone}`);
  return file;
}

function exists(rootFd: number, path: string): boolean {
  using found = tryOpenInRoot(rootFd, path, O.PATH);
  return found !== undefined;
}

/** Replaces what is there: /etc/localtime of an image says which zone its maker lived in. */
function linkLocaltime(rootFd: number, target: string, owner: Owner | undefined): void {
  using etc = mkdirAllInRoot(rootFd, '/etc', 0o755, owner);
  const gone = unlinkAt(etc.fd, 'localtime');
  if (gone !== E.NOENT) orThrow(gone, 'unlink', '/etc/localtime');
  orThrow(symlinkAt(`..${target}`, etc.fd, 'localtime'), 'symlink', '/etc/localtime');
  if (owner !== undefined) orThrow(chownAt(etc.fd, 'localtime', owner.uid, owner.gid), 'chown', '/etc/localtime');
}
