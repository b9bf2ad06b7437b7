import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { wrap } from '../errors/index.ts';
import type { Container } from './container.ts';
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
  const { id, name, pod, runtime } = container.facts;
  try {
    await stopContainer(ctx, container, graceSeconds);
  } catch (error) {
    throw wrap('failed to stop container for removal', error);
  }
  using _ = await container.lock.acquire();
  if (container.removed) return;
  try {
    await runtime.delete(id);
    await removeMonitorFiles(ctx, id);
    await ctx.store.deleteContainer(id);
  } catch (error) {
    throw wrap(`failed to delete container ${name} in pod sandbox ${pod.id}`, error);
  }
  container.removed = true;
  ctx.registry.delete(container);
  ctx.onEvent('deleted', container);
}

/** What a monitor leaves behind: the exit file, and (conmon 2.1) its link to the run directory. */
export async function removeMonitorFiles(ctx: ContainerContext, id: string): Promise<void> {
  await rm(join(ctx.exitsDir, id), { force: true });
  await rm(join(ctx.attachSocketDir, id), { force: true });
}
