import { mkdir, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Failure, wrap } from '../../errors/index.ts';
import { MS, O, type Owner, S, mkdirAllInRoot, mount, openRoot, statOrThrow, tryOpenInRoot, unmountIfMounted } from '../../linux/index.ts';
import type { UndoStack } from '../../sync/index.ts';
import { type OciMount, cleanPath } from '../spec/index.ts';

export type ImageVolumesMode = 'mkdir' | 'bind' | 'ignore';

export interface ImageVolumesRequest {
  /** The paths of the image's VOLUMEs. */
  readonly volumes: readonly string[];
  readonly mode: ImageVolumesMode;
  readonly rootFd: number;
  readonly runDir: string;
  /** The process' ids [F96]. */
  readonly owner: Owner;
  readonly undo: UndoStack;
}

/**
 * VOLUMEs of an image [F96, a03, a37]: directories made inside the rootfs, or fresh ones bound over them. A volume on or
 * below /proc, /sys or /dev is left alone, with a warning: the runtime mounts there itself.
 */
export async function prepareImageVolumes(request: ImageVolumesRequest): Promise<{ mounts: OciMount[]; warnings: string[] }> {
  const mounts: OciMount[] = [];
  const warnings: string[] = [];
  if (request.mode === 'ignore') return { mounts, warnings };
  for (const volume of request.volumes) {
    const path = cleanPath(volume.startsWith('/') ? volume : `/${volume}`);
    if (path === '/' || path.includes('\0') || Buffer.byteLength(path) > 4095 || /^\/(proc|sys|dev)(\/|$)/.test(path)) {
      warnings.push(`Volume ${JSON.stringify(volume.slice(0, 80))} of the image is ignored: nothing may be put there`);
      continue;
    }
    if (request.mode === 'mkdir') {
      mkdirAllInRoot(request.rootFd, path, 0o755, request.owner)[Symbol.dispose]();
      continue;
    }
    const source = join(request.runDir, 'mounts', randomBytes(32).toString('hex'));
    await mkdir(source, { recursive: true, mode: 0o755 });
    request.undo.push(`remove image volume ${source}`, () => rm(source, { recursive: true, force: true }));
    mounts.push({ destination: path, type: 'bind', source, options: ['private', 'bind', 'rw'] });
  }
  return { mounts, warnings };
}

/**
 * The spec's mount of an image [F91]: an overlay of lower directories alone, so that nothing can be written.
 * `emptyDirectory` as `prepareEmptyDirectory` answered it.
 */
export function imageMount(containerPath: string, lower: string, emptyDirectory: string): OciMount {
  return { destination: containerPath, type: 'overlay', source: 'overlay', options: [`lowerdir=${lower}:${emptyDirectory}`] };
}

/**
 * As `imageMount` for a container with a user namespace of its own, to whose root the image belongs at `path`: an overlay that the
 * runtime makes there would show everything as nobody's.
 */
export function mappedImageMount(containerPath: string, path: string): OciMount {
  return { destination: containerPath, type: 'bind', source: path, options: ['rbind', 'rprivate', 'ro', 'nodev', 'bind'] };
}

/** `<dirname of container_exits_dir>/image-volumes`, 0700, which must stay empty [F91]. */
export async function prepareEmptyDirectory(path: string): Promise<string> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  if ((await readdir(path)).length > 0) throw new Failure('FailedPrecondition', `image volumes path ${path} is not empty`);
  return path;
}

/**
 * A sub path of a mounted image, opened inside it and bound to a fresh `subpath…` in the run directory, where it stays
 * until the container goes [F92, a52]. Answers that place and whether it is a directory.
 */
export async function mountImageSubPath(o: {
  readonly imageMount: string;
  readonly subPath: string;
  readonly reference: string;
  readonly runDir: string;
  readonly undo: UndoStack;
}): Promise<{ path: string; isDirectory: boolean }> {
  using root = openRoot(o.imageMount);
  using found = tryOpenInRoot(root.fd, o.subPath, O.PATH);
  if (found === undefined) throw new Failure('NotFound', `sub path "${o.subPath}" does not exist in image volume "${o.reference}"`);
  const isDirectory = (statOrThrow(found.fd).mode & S.MASK) === S.DIR;
  const path = isDirectory ? await mkdtemp(join(o.runDir, 'subpath')) : join(o.runDir, `subpath${randomBytes(6).toString('hex')}`);
  if (!isDirectory) await (await open(path, 'wx', 0o600)).close();
  o.undo.push(`remove ${path}`, () => rm(path, { recursive: isDirectory, force: true }));
  try {
    mount(`/proc/self/fd/${found.fd}`, path, '', MS.BIND | MS.REC);
  } catch (error) {
    throw wrap('safe mount sub path', error);
  }
  o.undo.push(`unmount ${path}`, () => unmountIfMounted(path));
  return { path, isDirectory };
}
