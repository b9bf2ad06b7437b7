import { lstat, mkdir, realpath, rmdir } from 'node:fs/promises';
import { readlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { Failure, codeOf, textOf, wrap } from '../../errors/index.ts';
import { type MountInfo, O, mkdirAllInRoot, openRoot, readMounts, tryOpenInRoot } from '../../linux/index.ts';
import type { UndoStack } from '../../sync/index.ts';
import {
  type Mount,
  MountPropagation,
  type OciMount,
  type ResolvedMounts,
  type RuntimeFacts,
  type VolumeEntry,
  cleanPath,
  ociMappings,
} from '../spec/index.ts';

/** What an image or artifact mount turned into (by who knows images); `id` goes into annotation Volumes [F88–F95]. */
export interface ResolvedImageMount {
  readonly mounts: readonly OciMount[];
  readonly id: string;
  readonly hostPath: string;
}

export interface MountRequest {
  readonly mounts: readonly Mount[];
  /** `bind_mount_prefix` [F76]. */
  readonly prefix: string;
  /** `absent_mount_sources_to_reject` [F78]. */
  readonly rejectedIfAbsent: readonly string[];
  /** The store's graph root [F81]. */
  readonly storageRoot: string;
  readonly runtime: RuntimeFacts;
  /** A restore makes no missing sources [F77]. */
  readonly makeMissing: boolean;
  /** For mounts with `image`. */
  readonly resolveImage: (mount: Mount) => Promise<ResolvedImageMount>;
  /** SELinux: called for sources that CRI wants relabelled [F85]; absent where SELinux is off. */
  readonly relabel?: ((path: string) => Promise<void>) | undefined;
  /** Told what was made, so that a failed create leaves nothing. */
  readonly undo: UndoStack;
}

/**
 * CRI's mounts, looked at on the host and turned into the spec's [F64, F75–F95]. Parents come before children.
 * What to tell the log is in `warnings`; errors have CRI-O's texts.
 */
export async function resolveMounts(request: MountRequest): Promise<ResolvedMounts & { readonly warnings: readonly string[] }> {
  const binds: OciMount[] = [];
  const images: OciMount[] = [];
  const volumes: VolumeEntry[] = [];
  const warnings: string[] = [];
  const depth = (mount: Mount) => cleanPath(mount.containerPath).split('/').filter(Boolean).length;
  const sorted = request.mounts.toSorted((a, b) => depth(a) - depth(b));
  const table = sorted.length === 0 ? [] : await readMounts();
  let rootfsPropagation: string | undefined;
  for (const mount of sorted) {
    checkPath('mount.ContainerPath', mount.containerPath);
    if (mount.image?.image) {
      const resolved = await request.resolveImage(mount);
      images.push(...resolved.mounts);
      volumes.push({ ...volumeEntry(mount, resolved.hostPath), readonly: true, image: { image: resolved.id } });
      continue;
    }
    checkPath('mount.HostPath', mount.hostPath);
    const source = await resolveSource(mount, request);
    if (source === '/' && cleanPath(mount.containerPath) === '/')
      warnings.push('The host root is mounted on the container root: the container sees and may change the whole node');
    const propagation = planPropagation(mount, source, request.storageRoot, table, warnings);
    if (propagation.rootfs !== undefined && rootfsPropagation !== 'rshared') rootfsPropagation = propagation.rootfs;
    if (mount.selinuxRelabel && request.relabel !== undefined) await request.relabel(source);
    binds.push({
      destination: absolute(mount.containerPath),
      type: 'bind',
      source,
      options: ['rbind', propagation.option, access(mount, request.runtime), 'bind'],
      ...mappings(mount, request.runtime),
    });
    volumes.push(volumeEntry(mount, source));
  }
  return { binds, images, rootfsPropagation, volumes, warnings };
}

/** A mount with a path that no kernel takes could rewrite a runtime's message to its init [a12]. */
function checkPath(what: string, path: string): void {
  if (path === '') throw new Failure('Unknown', `${what} is empty`);
  if (Buffer.byteLength(path) > 4095 || path.includes('\0'))
    throw new Failure(
      'InvalidArgument',
      `${what} ${JSON.stringify(path.slice(0, 80))} is not a valid path: longer than 4095 bytes or with a NUL`,
    );
}

function absolute(path: string): string {
  return path.startsWith('/') ? path : `/${path}`;
}

function volumeEntry(mount: Mount, hostPath: string): VolumeEntry {
  return {
    container_path: mount.containerPath,
    host_path: hostPath,
    readonly: mount.readonly,
    recursive_read_only: mount.recursiveReadOnly,
    propagation: mount.propagation,
    selinux_relabel: mount.selinuxRelabel,
  };
}

/** The source with a link at its end resolved, made as a directory if it is missing [F76–F78]. */
async function resolveSource(mount: Mount, request: MountRequest): Promise<string> {
  const source = cleanPath(`${request.prefix}${absolute(mount.hostPath)}`);
  let dangling = false;
  try {
    if (!(await lstat(source)).isSymbolicLink()) return source;
    dangling = true;
    return await resolveLink(mount, source, request.prefix);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw wrap(`failed to resolve symlink "${source}"`, error);
  }
  if (request.rejectedIfAbsent.map(cleanPath).includes(cleanPath(mount.hostPath)))
    throw new Failure('Unknown', `cannot mount ${mount.hostPath}: path does not exist and will cause issues as a directory`);
  if (!request.makeMissing) return source;
  if (dangling) return makeTarget(mount, request);
  await makeDirectory(source, request.undo);
  return source;
}

/** Where a link leads that dangles: its target is made, with the prefix as its `/`. */
function makeTarget(mount: Mount, request: MountRequest): string {
  using root = openRoot(request.prefix || '/');
  using made = mkdirAllInRoot(root.fd, mount.hostPath, 0o755);
  const path = readlinkSync(`/proc/self/fd/${made.fd}`);
  request.undo.push(`remove ${path}, made as a mount source`, () => removed(path));
  return path;
}

async function makeDirectory(path: string, undo: UndoStack): Promise<void> {
  try {
    const first = await mkdir(path, { recursive: true, mode: 0o755 });
    if (first === undefined) return;
    undo.push(`remove ${path}, made as a mount source`, async () => {
      for (let made = path; made.startsWith(first) && (await removed(made)); made = posix.dirname(made));
    });
  } catch (error) {
    throw wrap(`failed to mkdir ${path}`, new Failure('Unknown', textOf(error), { cause: error }));
  }
}

/** False for a directory that somebody has put something into. */
async function removed(path: string): Promise<boolean> {
  try {
    await rmdir(path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOTEMPTY' || codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Where a link at the end leads: on the host, or with the prefix as its `/`. Rejects with ENOENT if it dangles. */
async function resolveLink(mount: Mount, source: string, prefix: string): Promise<string> {
  if (prefix === '') return await realpath(source);
  using root = openRoot(prefix);
  using target = tryOpenInRoot(root.fd, mount.hostPath, O.PATH);
  if (target === undefined) throw new Failure('NotFound', 'no such file or directory', { code: 'ENOENT' });
  return readlinkSync(`/proc/self/fd/${target.fd}`);
}

interface Propagation {
  readonly option: 'rprivate' | 'rslave' | 'rshared';
  readonly rootfs: 'rslave' | 'rshared' | undefined;
}

/** [F80–F82]. A private mount of what holds the store follows the host, or each container's rootfs would stay busy. */
export function planPropagation(
  mount: Mount,
  source: string,
  storageRoot: string,
  table: readonly MountInfo[],
  warnings: string[],
): Propagation {
  const sourceMount = () => mountOf(source, table);
  switch (mount.propagation) {
    case MountPropagation.PRIVATE:
      return contains(source, storageRoot) && isShared(sourceMount(), true)
        ? { option: 'rslave', rootfs: 'rslave' }
        : { option: 'rprivate', rootfs: undefined };
    case MountPropagation.HOST_TO_CONTAINER: {
      const found = sourceMount();
      if (!isShared(found, true))
        throw new Failure(
          'FailedPrecondition',
          `path "${source}" is mounted on "${found.mountPoint}" but it is not a shared or slave mount`,
          {
            advice: `Make it one: mount --make-rshared ${found.mountPoint}`,
          },
        );
      return { option: 'rslave', rootfs: 'rslave' };
    }
    case MountPropagation.BIDIRECTIONAL: {
      const found = sourceMount();
      if (!isShared(found, false))
        throw new Failure('FailedPrecondition', `path "${source}" is mounted on "${found.mountPoint}" but it is not a shared mount`, {
          advice: `Make it one: mount --make-rshared ${found.mountPoint}`,
        });
      return { option: 'rshared', rootfs: 'rshared' };
    }
    default:
      warnings.push(`Unknown propagation mode ${mount.propagation} for hostPath "${mount.hostPath}", using private`);
      return { option: 'rprivate', rootfs: undefined };
  }
}

function contains(directory: string, path: string): boolean {
  return directory === '/' || path === directory || path.startsWith(`${directory}/`);
}

/** The mount a path lies on: of the longest mount points the one mounted last. */
export function mountOf(path: string, table: readonly MountInfo[]): MountInfo {
  let found: MountInfo | undefined;
  for (const mount of table)
    if (contains(mount.mountPoint, path) && (found === undefined || mount.mountPoint.length >= found.mountPoint.length)) found = mount;
  if (found === undefined) throw new Failure('Unknown', `could not find source mount of ${path}`);
  return found;
}

function isShared(mount: MountInfo, orSlave: boolean): boolean {
  return mount.optional.some((field) => field.startsWith('shared:') || (orSlave && field.startsWith('master:')));
}

const MODES = ['PROPAGATION_PRIVATE', 'PROPAGATION_HOST_TO_CONTAINER', 'PROPAGATION_BIDIRECTIONAL'] as const;

/** `ro`, `rw`, or `rro` with everything below [F83, G97]. */
function access(mount: Mount, runtime: RuntimeFacts): 'ro' | 'rw' | 'rro' {
  if (!mount.recursiveReadOnly) return mount.readonly ? 'ro' : 'rw';
  const on = `for hostPath "${mount.hostPath}"`;
  if (!runtime.recursiveReadOnly) throw new Failure('Unknown', `recursive read-only mount support is not available ${on}`);
  if (mount.propagation !== MountPropagation.PRIVATE)
    throw new Failure(
      'Unknown',
      `recursive read-only mount requires private propagation ${on}, got: ${MODES[mount.propagation] ?? mount.propagation}`,
    );
  if (!mount.readonly) throw new Failure('Unknown', `recursive read-only mount conflicts with read-write mount ${on}`);
  return 'rro';
}

/** [F84, G94] */
function mappings(mount: Mount, runtime: RuntimeFacts): Pick<OciMount, 'uidMappings' | 'gidMappings'> {
  if (mount.uidMappings.length === 0 && mount.gidMappings.length === 0) return {};
  if (!runtime.idmapMounts)
    throw new Failure('Unknown', 'idmap mounts specified but OCI runtime does not support them. Perhaps the OCI runtime is too old');
  return { uidMappings: ociMappings(mount.uidMappings), gidMappings: ociMappings(mount.gidMappings) };
}
