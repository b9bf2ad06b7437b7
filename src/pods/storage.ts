import { chmod, mkdir, rm } from 'node:fs/promises';
import { posix } from 'node:path';
import { Failure, kindOf, textOf, wrap } from '../errors/index.ts';
import type { Image } from '../images/index.ts';
import { MS, mount, unmountAll } from '../linux/index.ts';
import { writeContainerEnv, writeHostname, writeResolvConf } from '../oci/rootfs/index.ts';
import { NamespaceMode } from '../oci/spec/index.ts';
import { step } from '../steps/index.ts';
import { type UndoStack, allEnded } from '../sync/index.ts';
import type { PodContext } from './context.ts';
import { ensurePauseImage } from './pause/image.ts';
import type { SandboxPlan } from './plan.ts';
import { shmSize } from './shm.ts';

export interface SandboxStorage {
  readonly image: Image;
  readonly rootfs: string;
  readonly directory: string;
  readonly runDirectory: string;
  readonly resolvPath: string;
  readonly hostnamePath: string;
  readonly shmPath: string;
}

/**
 * The pod's record in the store, its mounted root file system, and the files that its containers share: /etc/resolv.conf,
 * /etc/hostname, /run/.containerenv, /dev/shm [D41–D55].
 */
export async function prepareStorage(ctx: PodContext, plan: SandboxPlan, undo: UndoStack): Promise<SandboxStorage> {
  const image = await step('pause image', () => ensurePauseImage(ctx));
  await step('record', () => createRecord(ctx, plan, image));
  undo.push(`delete storage container ${plan.id}`, () => ctx.store.deleteContainer(plan.id));
  const directory = ctx.store.containerDirectory(plan.id);
  const runDirectory = ctx.store.containerRunDirectory(plan.id);
  const [rootfs, resolvPath, shmPath, hostnamePath] = await allEnded([
    step('mount', () => mountRootfs(ctx, plan, undo)),
    writeResolvConf(runDirectory, plan.config.dnsConfig),
    step('shm', () => provideShm(plan, runDirectory, undo)),
    writeHostname(runDirectory, plan.hostname),
    writeContainerEnv(plan.dropInfra ? runDirectory : directory),
    mkdir(plan.logDirectory, { recursive: true, mode: 0o700 }),
  ]);
  return { image, rootfs, directory, runDirectory, resolvPath, hostnamePath, shmPath };
}

async function createRecord(ctx: PodContext, plan: SandboxPlan, image: Image): Promise<void> {
  const { id, name, infraName, metadata } = plan;
  try {
    await ctx.store.createContainer({
      id,
      names: [infraName, name],
      imageId: image.id,
      layerName: `${infraName}-layer`,
      metadata: JSON.stringify({
        'pod-name': name,
        'pod-id': id,
        'image-name': ctx.settings.pauseImage,
        'image-id': image.id,
        name: infraName,
        'metadata-name': metadata.name,
        uid: metadata.uid,
        namespace: metadata.namespace,
        'created-at': Number(plan.createdAt / 1_000_000_000n),
        ...(metadata.attempt === 0 ? {} : { attempt: metadata.attempt }),
        pod: true,
        ...(plan.privileged ? { privileged: true } : {}),
      }),
    });
  } catch (error) {
    if (kindOf(error) === 'AlreadyExists')
      throw new Failure('AlreadyExists', `pod sandbox with name "${name}" already exists`, { cause: error });
    throw wrap(`creating pod sandbox with name "${name}"`, error);
  }
}

async function mountRootfs(ctx: PodContext, plan: SandboxPlan, undo: UndoStack): Promise<string> {
  try {
    const rootfs = await ctx.store.mountContainer(plan.id);
    undo.push(`unmount rootfs of ${plan.id}`, () => ctx.store.unmountContainer(plan.id, true));
    return rootfs;
  } catch (error) {
    throw wrap(`failed to mount container ${plan.infraName} in pod sandbox ${plan.name}(${plan.id})`, error);
  }
}

/** A tmpfs of the pod's own; the host's with host IPC [D51]. */
async function provideShm(plan: SandboxPlan, runDirectory: string, undo: UndoStack): Promise<string> {
  if (plan.namespaceOptions.ipc === NamespaceMode.NODE) return '/dev/shm';
  const size = shmSize(plan.annotations);
  const path = posix.join(runDirectory, 'shm');
  await mkdir(path, { mode: 0o700 });
  await chmod(path, 0o700);
  try {
    mount('shm', path, 'tmpfs', MS.NOEXEC | MS.NOSUID | MS.NODEV, `mode=1777,size=${size}`);
  } catch (error) {
    throw wrap('failed to mount shm tmpfs for pod', error);
  }
  undo.push(`unmount ${path}`, () => removeShm(path));
  return path;
}

/** Unmounts a pod's /dev/shm; one that is not mounted any more is success [D100]. */
export async function removeShm(path: string): Promise<void> {
  try {
    unmountAll(path);
  } catch (error) {
    throw new Failure('Unknown', `unable to unmount ${path}: ${textOf(error)}`, { cause: error });
  }
  await rm(path, { recursive: true, force: true });
}
