import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { textOf, wrap } from '../errors/index.ts';
import { isHexId } from '../ids/index.ts';
import { monitorCgroup, removeMonitorCgroup } from '../resources/index.ts';
import { TURN, step } from '../steps/index.ts';
import { type Container, subjectOf } from './container.ts';
import type { ContainerContext } from './context.ts';
import { stopContainer } from './stop.ts';

/** Seconds that a running container gets when the request has no deadline [D152]. */
const DEFAULT_GRACE_SECONDS = 10;

/**
 * RemoveContainer [D151–D154]: a running one is stopped first. Every step may find its work done, so that a retry
 * after a failure in the middle goes on where the first ended. The log file stays: it is the kubelet's.
 */
export async function removeContainer(
  ctx: ContainerContext,
  container: Container,
  graceSeconds: number = DEFAULT_GRACE_SECONDS,
): Promise<void> {
  await ctx.tracer.operation('RemoveContainer', subjectOf(container), () => remove(ctx, container, graceSeconds));
}

async function remove(ctx: ContainerContext, container: Container, graceSeconds: number): Promise<void> {
  const { id, name, pod, runtime, spec } = container.facts;
  try {
    await stopContainer(ctx, container, graceSeconds);
  } catch (error) {
    throw wrap('failed to stop container for removal', error);
  }
  using _ = await step(TURN, () => container.lock.acquire());
  if (container.removed) return;
  try {
    await runtime.delete(id);
    await step('monitor files', () => removeMonitorFiles(ctx, id, spec.linux.cgroupsPath));
    await step('delete record', () => ctx.store.deleteContainer(id));
  } catch (error) {
    throw wrap(`failed to delete container ${name} in pod sandbox ${pod.id}`, error);
  }
  await step('image volumes', () => releaseImageVolumes(ctx, container));
  container.removed = true;
  container.unwatch();
  ctx.registry.delete(container);
  ctx.onEvent('deleted', container);
}

/**
 * The container was one user of the mounts of its image volumes; CRI-O lets those stay for as long as the image.
 * The container has gone by now: a mount that does not go is worth a line, not a failure.
 */
async function releaseImageVolumes(ctx: ContainerContext, container: Container): Promise<void> {
  for (const { image } of container.facts.mounts) {
    if (image === undefined || !isHexId(image.image)) continue;
    try {
      await ctx.store.unmountImage(image.image);
    } catch (error) {
      ctx.log.warn(`Failed to unmount image ${image.image}, a volume of container ${container.id}: ${textOf(error)}`);
    }
  }
}

/** What a monitor leaves behind: the exit file, (conmon 2.1) its link to the run directory, and its cgroup, if it had its own [K49]. */
export async function removeMonitorFiles(ctx: ContainerContext, id: string, cgroupsPath?: string): Promise<void> {
  await rm(join(ctx.exitsDir, id), { force: true });
  await rm(join(ctx.attachSocketDir, id), { force: true });
  if (cgroupsPath === undefined || cgroupsPath === '') return;
  const error = await removeMonitorCgroup(monitorCgroup(cgroupsPath, id));
  if (error !== undefined) ctx.log.info(`Failed to remove the cgroup of the monitor of ${id}: ${textOf(error)}`);
}
