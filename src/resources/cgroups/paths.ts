import { posix } from 'node:path';
import { Failure } from '../../errors/index.ts';

export type CgroupManagerName = 'systemd' | 'cgroupfs';

/** The slice of containers whose pod names no parent [L2]. */
const DEFAULT_SLICE = 'system.slice';

/**
 * The pod's cgroup parent as it is used from here on [D57, D58, L5–L7]: with systemd the last path element, which must
 * be a slice (none at all stays empty); with cgroupfs the path itself, which must not be a slice's.
 * Fails with CRI-O's texts; a path with `..` is refused as well.
 */
export function parseCgroupParent(manager: CgroupManagerName, parent: string): string {
  const last = posix.basename(parent);
  if (parent.split('/').includes('..') || parent.includes('\0'))
    throw new Failure('InvalidArgument', `cgroup parent ${JSON.stringify(parent)} is not a clean path`);
  if (manager === 'cgroupfs') {
    if (last.endsWith('.slice'))
      throw new Failure(
        'InvalidArgument',
        `cri-o configured with cgroupfs cgroup manager, but received systemd slice as parent: ${parent}`,
        {
          advice: 'Give the kubelet and crio the same cgroup driver.',
        },
      );
    return parent;
  }
  if (parent === '') return '';
  if (!last.endsWith('.slice'))
    throw new Failure('InvalidArgument', `cri-o configured with systemd cgroup manager, but did not receive slice as parent: ${parent}`, {
      advice: 'Give the kubelet and crio the same cgroup driver.',
    });
  return last;
}

/** `linux.cgroupsPath` of a container [F36, F37, L2, L3]; `parent` as CRI or `parseCgroupParent` gave it, and checked like that. */
export function containerCgroupsPath(manager: CgroupManagerName, parent: string, id: string): string {
  const used = parseCgroupParent(manager, parent);
  if (manager === 'systemd') return `${used === '' ? DEFAULT_SLICE : used}:crio:${id}`;
  return posix.join('/', used === '' ? 'crio' : used, `crio-${id}`);
}

/** `linux.cgroupsPath` of a sandbox [D57, D58, L5–L7]: none with systemd and no parent; a wrong parent fails here. */
export function sandboxCgroupsPath(manager: CgroupManagerName, parent: string, id: string): string {
  const used = parseCgroupParent(manager, parent);
  if (manager === 'systemd') return used === '' ? '' : `${used}:crio:${id}`;
  return posix.join(used, `crio-${id}`);
}

/**
 * Where a slice lies below the cgroup root: `a-b.slice` → `/a.slice/a-b.slice`, `-.slice` → `/` [L4].
 * Fails with `invalid slice name: …`.
 */
export function expandSlice(slice: string): string {
  const bad = () => new Failure('InvalidArgument', `invalid slice name: ${slice}`);
  if (!slice.endsWith('.slice') || slice === '.slice' || slice.includes('/')) throw bad();
  const name = slice.slice(0, -'.slice'.length);
  if (name === '-') return '/';
  const parts = name.split('-');
  if (parts.includes('')) throw bad();
  return `/${parts.map((_, n) => `${parts.slice(0, n + 1).join('-')}.slice`).join('/')}`;
}

/** The directory of a pod's parent below a hierarchy's root; `parent` as CRI or `parseCgroupParent` gave it. */
export function parentDirectory(manager: CgroupManagerName, parent: string): string {
  const used = parseCgroupParent(manager, parent);
  if (manager === 'cgroupfs') return posix.join('/', used === '' ? 'crio' : used);
  return expandSlice(used === '' ? DEFAULT_SLICE : used);
}

/** The directory of a container's cgroup below a hierarchy's root; crun puts `container` below it [L4, L10]. */
export function containerDirectory(manager: CgroupManagerName, parent: string, id: string): string {
  const scope = manager === 'systemd' ? `crio-${id}.scope` : `crio-${id}`;
  return posix.join(parentDirectory(manager, parent), scope);
}

/**
 * The directory made for a pod without infra process, a plain one also with systemd [L16, L17]. Undefined where none is
 * made: no slice to put it in, or a parent of the other driver, which a pod from before a change of drivers may have.
 */
export function droppedInfraDirectory(manager: CgroupManagerName, parent: string, id: string): string | undefined {
  const slice = posix.basename(parent).endsWith('.slice');
  if (slice !== (manager === 'systemd')) return undefined;
  const used = parseCgroupParent(manager, parent);
  return posix.join(manager === 'systemd' ? expandSlice(used) : posix.join('/', used), `crio-${id}`);
}
