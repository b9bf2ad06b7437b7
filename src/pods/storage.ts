import { chmod, mkdir, readlink, rm, stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { Failure, codeOf, kindOf, textOf, wrap } from '../errors/index.ts';
import type { Image } from '../images/index.ts';
import { MS, type Owner, mount, unmountAll } from '../linux/index.ts';
import { changeOwner, makeAccessible, writeContainerEnv, writeHostname, writeResolvConf } from '../oci/rootfs/index.ts';
import { type IdMappings, NamespaceMode, checkIdMappings, mappedRoot, recordMaps } from '../oci/spec/index.ts';
import { step } from '../steps/index.ts';
import { type UndoStack, allEnded } from '../sync/index.ts';
import type { PodContext } from './context.ts';
import { ensurePauseImage } from './pause/image.ts';
import type { SandboxPlan } from './plan.ts';
import { shmSize } from './shm.ts';
import { fromRecord } from './userns/index.ts';

export interface SandboxRecord {
  readonly image: Image;
  /** Of its user namespace, as the record has them; undefined: it is in the host's. */
  readonly idMappings: IdMappings | undefined;
}

export interface SandboxStorage extends SandboxRecord {
  readonly rootfs: string;
  readonly directory: string;
  readonly runDirectory: string;
  readonly resolvPath: string;
  readonly hostnamePath: string;
  readonly shmPath: string;
}

/** The pod's record in the store: from here on its id, its names and the ids of its user namespace are its own [D41–D43]. */
export async function prepareRecord(ctx: PodContext, plan: SandboxPlan, undo: UndoStack): Promise<SandboxRecord> {
  const image = await step('pause image', () => ensurePauseImage(ctx));
  const idMappings = await step('record', () => createRecord(ctx, plan, image));
  undo.push(`delete storage container ${plan.id}`, () => ctx.store.deleteContainer(plan.id));
  if (idMappings !== undefined) checkIdMappings(idMappings);
  return { image, idMappings };
}

/**
 * The pod's mounted root file system, and the files that its containers share: /etc/resolv.conf, /etc/hostname,
 * /run/.containerenv, /dev/shm [D41–D55]. With a user namespace they belong to its root [G93].
 */
export async function prepareStorage(
  ctx: PodContext,
  plan: SandboxPlan,
  record: Promise<SandboxRecord>,
  namespaces: Promise<unknown>,
  undo: UndoStack,
): Promise<SandboxStorage> {
  const { image, idMappings } = await record;
  if (idMappings !== undefined) await namespaces;
  const owner = mappedRoot(idMappings);
  const directory = ctx.store.containerDirectory(plan.id);
  const runDirectory = ctx.store.containerRunDirectory(plan.id);
  const [rootfs, resolvPath, shmPath, hostnamePath] = await allEnded([
    step('mount', () => mountRootfs(ctx, plan, undo)),
    writeResolvConf(runDirectory, plan.config.dnsConfig, owner),
    step('shm', () => provideShm(plan, runDirectory, owner, undo)),
    writeHostname(runDirectory, plan.hostname, owner),
    writeContainerEnv(plan.dropInfra ? runDirectory : directory),
    prepareLog(plan),
  ]);
  if (owner !== undefined) for (const path of [runDirectory, rootfs]) await makeAccessible(path, owner);
  return { image, idMappings, rootfs, directory, runDirectory, resolvPath, hostnamePath, shmPath };
}

async function createRecord(ctx: PodContext, plan: SandboxPlan, image: Image): Promise<IdMappings | undefined> {
  const { id, name, infraName, metadata, userns } = plan;
  const idMap = userns !== undefined && 'mappings' in userns ? recordMaps(userns.mappings) : userns;
  try {
    const { uidmap, gidmap } = await ctx.store.createContainer({
      id,
      names: [infraName, name],
      imageId: image.id,
      layerName: `${infraName}-layer`,
      idMap,
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
    return userns === undefined ? undefined : fromRecord({ uids: uidmap, gids: gidmap });
  } catch (error) {
    if (kindOf(error) === 'AlreadyExists')
      throw new Failure('AlreadyExists', `pod sandbox with name "${name}" already exists`, { cause: error });
    throw wrap(`creating pod sandbox with name "${name}"`, error);
  }
}

/** The log of the pause process; a symlink to nowhere in its place is taken away, as conmon would follow it [D44, D45]. */
async function prepareLog({ logDirectory, logPath }: SandboxPlan): Promise<void> {
  await mkdir(logDirectory, { recursive: true, mode: 0o700 });
  try {
    if (await isDangling(logPath)) await rm(logPath);
  } catch (error) {
    throw wrap(`failed to remove bad log path ${logPath}`, error);
  }
}

/** Where something goes wrong in looking, nothing is known to be wrong with the path. */
async function isDangling(path: string): Promise<boolean> {
  const target = await readlink(path).catch(() => undefined);
  if (target === undefined) return false;
  return await stat(path).then(
    () => false,
    (error: unknown) => codeOf(error) === 'ENOENT',
  );
}

async function mountRootfs(ctx: PodContext, plan: SandboxPlan, undo: UndoStack): Promise<string> {
  try {
    const rootfs = await ctx.store.mountContainer(plan.id, { userNamespace: plan.pins.user });
    undo.push(`unmount rootfs of ${plan.id}`, () => ctx.store.unmountContainer(plan.id, true));
    return rootfs;
  } catch (error) {
    throw wrap(`failed to mount container ${plan.infraName} in pod sandbox ${plan.name}(${plan.id})`, error);
  }
}

/** A tmpfs of the pod's own; the host's with host IPC [D51, D52]. */
async function provideShm(plan: SandboxPlan, runDirectory: string, owner: Owner | undefined, undo: UndoStack): Promise<string> {
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
  if (owner !== undefined) await changeOwner(path, owner);
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
