import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, wrap } from '../../errors/index.ts';
import type { ArtifactFile } from '../../images/index.ts';
import type { HexId } from '../../ids/index.ts';
import { unmountIfMounted } from '../../linux/index.ts';
import { type ResolvedImageMount, imageMount, mappedImageMount, mountImageSubPath, prepareEmptyDirectory } from '../../oci/rootfs/index.ts';
import type { Mount } from '../../oci/spec/index.ts';
import type { UndoStack } from '../../sync/index.ts';
import type { CreationContext } from './context.ts';
import type { Storage } from './image.ts';
import type { Work } from './work.ts';

/**
 * An image as a volume [F89–F93]: mounted read-only in the store, shown through an overlay without an upper directory. A user
 * namespace's root owns it there too. It is checked against the policy of the pod's namespace as images of containers are [I33]. What is an artifact of the artifact store is that first [I59].
 */
export async function resolveImageMount(
  ctx: CreationContext,
  mount: Mount,
  userNamespace: string | undefined,
  storage: Storage,
  { namespace, undo, journal }: Work,
): Promise<ResolvedImageMount> {
  const reference = mount.image?.image ?? '';
  try {
    const artifact = await ctx.images.artifactFiles(reference, mount.imageSubPath);
    if (artifact !== undefined) return artifactMounts(mount, artifact);
    const image = await ctx.images.find(reference);
    if (image === undefined) throw new Failure('NotFound', `image "${reference}" does not exist locally`);
    await ctx.images.verifyUse(mount.image?.userSpecifiedImage ?? '', namespace, image.id);
    await journal.willMount(image.id);
    const mountPoint = await ctx.store.mountImage(image.id);
    undo.push(`unmount image ${image.id}`, () => ctx.store.unmountImage(image.id));
    const mapped = userNamespace === undefined ? undefined : await mountMapped(ctx, image.id, userNamespace, storage, undo);
    const path = await subPathOf(mapped ?? mountPoint, mount.imageSubPath, reference, storage, undo);
    const shown =
      mapped === undefined
        ? imageMount(mount.containerPath, path, await prepareEmptyDirectory(ctx.settings.imageVolumesDir))
        : mappedImageMount(mount.containerPath, path);
    return { mounts: [shown], id: image.id, hostPath: mountPoint };
  } catch (error) {
    throw wrap('ImageVolumeMountFailed', error);
  }
}

/** Each file of an artifact is a bind mount of its own, at its name below the mount's place [F94, I60]. */
function artifactMounts(
  { containerPath }: Mount,
  { id, files }: { readonly id: HexId; readonly files: readonly ArtifactFile[] },
): ResolvedImageMount {
  const place = `/${containerPath}`.replace(/\/+$/, '').replace(/^\/\/+/, '/');
  const mounts = files.map(({ path, blob }) => ({
    destination: `${place}/${path}`,
    type: 'bind',
    source: blob,
    options: ['bind', 'ro'],
  }));
  return { mounts, id, hostPath: '' };
}

/** The image with the ids of the pod's user namespace, in the run directory, where it stays until the container goes. */
async function mountMapped(
  ctx: CreationContext,
  id: HexId,
  userNamespace: string,
  { runDirectory }: Storage,
  undo: UndoStack,
): Promise<string> {
  const path = await mkdtemp(join(runDirectory, 'image'));
  undo.push(`remove ${path}`, () => rm(path, { recursive: true, force: true }));
  await ctx.store.mountImageMapped(id, path, userNamespace);
  undo.push(`unmount ${path}`, () => unmountIfMounted(path));
  return path;
}

async function subPathOf(mounted: string, subPath: string, reference: string, { runDirectory }: Storage, undo: UndoStack): Promise<string> {
  if (subPath === '') return mounted;
  return (await mountImageSubPath({ imageMount: mounted, subPath, reference, runDir: runDirectory, undo })).path;
}
