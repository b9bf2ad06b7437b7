import { Failure, wrap } from '../../errors/index.ts';
import type { Image } from '../../images/index.ts';
import type { ContainerId } from '../../ids/index.ts';
import { makeAccessible } from '../../oci/rootfs/index.ts';
import { mappedRoot, recordMaps } from '../../oci/spec/index.ts';
import { step } from '../../steps/index.ts';
import type { UndoStack } from '../../sync/index.ts';
import { containerName } from '../names.ts';
import type { Creation, CreationContext, PodForCreation } from './context.ts';

/** A container that has a record and a mounted root file system, and nothing else yet. */
export interface Storage {
  readonly id: ContainerId;
  readonly name: string;
  readonly image: Image;
  /** Nanoseconds since the epoch. */
  readonly createdAt: bigint;
  readonly rootfs: string;
  readonly directory: string;
  readonly runDirectory: string;
}

/** The local image that a request names, by id, id prefix or name [D126, I86]. */
export async function findImage(ctx: CreationContext, creation: Creation): Promise<Image> {
  const name = creation.image.image;
  if (name === '') throw new Failure('InvalidArgument', 'CreateContainerRequest.ContainerConfig.Image.Image is empty');
  const image = await ctx.images.find(name);
  if (image !== undefined) return image;
  const { graphRoot, runRoot } = ctx.store;
  throw new Failure('NotFound', `reference "[overlay@${graphRoot}+${runRoot}]${name}" does not resolve to an image ID`, {
    advice: 'Pull the image first.',
  });
}

/** Record, layer and mount [D41–D43, F4]. */
export async function prepareStorage(
  ctx: CreationContext,
  pod: PodForCreation,
  creation: Creation,
  made: { readonly id: ContainerId; readonly createdAt: bigint; readonly privileged: boolean },
  undo: UndoStack,
): Promise<Storage> {
  const { id, createdAt, privileged } = made;
  const image = await step('image', async () => {
    const found = await findImage(ctx, creation);
    await ctx.images.verifyUse(creation.image.userSpecifiedImage, creation.podMetadata.namespace, found.id);
    return found;
  });
  const name = containerName(creation.metadata, creation.podMetadata);
  await step('record', () => createRecord(ctx, pod, creation, { id, name, image, createdAt, privileged }));
  undo.push(`delete storage container ${id}`, () => ctx.store.deleteContainer(id));
  const { idMappings, namespaces } = pod.specFacts;
  const mounting = step('mount', () => ctx.store.mountContainer(id, { userNamespace: namespaces.user }));
  const rootfs = await mounting.catch((error: unknown) => {
    throw wrap(`failed to mount container ${name}(${id})`, error);
  });
  undo.push(`unmount rootfs of ${id}`, () => ctx.store.unmountContainer(id, true));
  const directory = ctx.store.containerDirectory(id);
  const runDirectory = ctx.store.containerRunDirectory(id);
  const owner = mappedRoot(idMappings);
  if (owner !== undefined) for (const path of [rootfs, runDirectory]) await makeAccessible(path, owner);
  return { id, name, image, createdAt, rootfs, directory, runDirectory };
}

async function createRecord(
  ctx: CreationContext,
  pod: PodForCreation,
  creation: Creation,
  made: {
    readonly id: ContainerId;
    readonly name: string;
    readonly image: Image;
    readonly createdAt: bigint;
    readonly privileged: boolean;
  },
): Promise<void> {
  const { id, name, image, createdAt, privileged } = made;
  const { metadata } = creation;
  const { idMappings } = pod.specFacts;
  await ctx.store.createContainer({
    id,
    names: [name],
    imageId: image.id,
    layerName: `${name}-layer`,
    idMap: idMappings === undefined ? undefined : recordMaps(idMappings),
    metadata: JSON.stringify({
      'pod-name': pod.name,
      'pod-id': pod.id,
      'image-name': creation.image.image,
      'image-id': image.id,
      name,
      'metadata-name': metadata.name,
      'created-at': Number(createdAt / 1_000_000_000n),
      ...(metadata.attempt === 0 ? {} : { attempt: metadata.attempt }),
      ...(privileged ? { privileged: true } : {}),
    }),
  });
}
