import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Intent, removeMonitorFiles } from '../containers/index.ts';
import { Failure, textOf } from '../errors/index.ts';
import type { HexId } from '../ids/index.ts';
import { findProcesses } from '../linux/index.ts';
import type { PodNetwork } from '../network/index.ts';
import { removeInfraCgroup } from '../resources/index.ts';
import type { PodContext } from './context.ts';
import type { Debris } from './debris.ts';
import { type Pins, removePins } from './namespaces.ts';
import { removeShm } from './storage.ts';

/** What a sandbox's intent says besides its id. */
export interface SandboxIntent {
  readonly pins: Pins;
  /** undefined for a pod on the host's network. Maps are lists of pairs: it is JSON. */
  readonly network: (Omit<PodNetwork, 'annotations'> & { readonly annotations: readonly (readonly [string, string])[] }) | undefined;
  readonly infraCgroup: string | undefined;
}

/**
 * Undoes what a crash cut off in the middle of being made; the client never got an answer for it and asks again. First the
 * helpers that still work on it are ended, then each step's result is taken away; a step that had not happened is success.
 * What cannot be undone becomes debris. Call `finish` when all containers are restored: only then it is known whose
 * the mounts of image volumes are.
 */
export async function undoHalfMade(ctx: PodContext, debris: Debris): Promise<{ readonly finish: () => Promise<void> }> {
  const intents = await ctx.journal.open();
  if (intents.length === 0) return { finish: async () => {} };
  const undone: Intent[] = [];
  endHelpers(new Set(intents.map((intent) => intent.id)));
  for (const intent of intents) {
    ctx.log.warn(`A crash cut off the creation of ${intent.kind} ${intent.id}: undoing it`);
    const failure = await failureOf(undoIntent(ctx, { ...intent, imageVolumes: [] }));
    if (failure === undefined) undone.push(intent);
    else await debris.keep({ ...intent, imageVolumes: [] }, failure);
  }
  const finish = async () => {
    await trimImageVolumes(
      ctx,
      intents.flatMap(({ imageVolumes }) => imageVolumes ?? []),
    );
    for (const { id } of undone) await ctx.journal.forget(id);
  };
  return { finish };
}

async function failureOf(work: Promise<void>): Promise<unknown> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Each of these may or may not have been mounted; whoever else uses it is a container that was restored. */
async function trimImageVolumes(ctx: PodContext, images: readonly HexId[]): Promise<void> {
  const usersOf = (image: HexId) =>
    ctx.containers.registry.list().reduce((sum, { facts }) => sum + facts.mounts.filter((mount) => mount.image?.image === image).length, 0);
  for (const image of new Set(images))
    await ctx.store.trimImageUsers(image, { users: usersOf(image), most: images.filter((one) => one === image).length });
}

/** Monitors and CNI plugins that were started for it: whoever is left working would make anew what is being taken away. */
export function endHelpers(ids: ReadonlySet<string>): void {
  for (const { pid } of findProcesses(ids, 'CNI_CONTAINERID')) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** Takes away whatever there is of it. All steps are tried; fails with what could not be done. */
export async function undoIntent(ctx: PodContext, intent: Intent): Promise<void> {
  const { id, runtimeHandler } = intent;
  const errors: string[] = [];
  const attempt = async (what: string, work: () => Promise<unknown>) => {
    const failure = await failureOf(work().then(() => {}));
    if (failure !== undefined) errors.push(`${what}: ${textOf(failure)}`);
  };
  await attempt('delete from the runtime', () => ctx.runtimes.get(runtimeHandler).delete(id));
  await attempt('remove the files of its monitor', () => removeMonitorFiles(ctx.containers, id, intent.cgroupsPath));
  if (intent.kind === 'sandbox') await undoSandbox(ctx, intent, attempt);
  else if (intent.logPath !== '') await attempt('remove its log', () => rm(intent.logPath, { force: true }));
  for (const image of intent.imageVolumes ?? []) await attempt(`unmount image ${image}`, () => ctx.store.unmountImage(image));
  // Last, and only when nothing else is left: without a record nobody knew of the rest after a reboot.
  if (errors.length === 0) await attempt('delete from the storage', () => ctx.store.deleteContainer(id));
  if (errors.length > 0) throw new Failure('Unknown', errors.join('; '));
}

type Attempt = (what: string, work: () => Promise<unknown>) => Promise<void>;

async function undoSandbox(ctx: PodContext, { id, sandbox }: Intent, attempt: Attempt): Promise<void> {
  const { pins, network, infraCgroup } = sandbox as SandboxIntent;
  if (network !== undefined)
    await attempt('detach from the network', () => ctx.network.detach({ ...network, annotations: new Map(network.annotations) }));
  await attempt('remove its namespaces', () => removePins(pins));
  await attempt('remove its /dev/shm', () => removeShm(join(ctx.store.containerRunDirectory(id), 'shm')));
  await attempt('remove its cgroup', async () => removeInfraCgroup(infraCgroup));
}
