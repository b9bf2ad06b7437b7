import { removeContainer, removeMonitorFiles, stopContainer } from '../containers/index.ts';
import { wrap } from '../errors/index.ts';
import { droppedInfraDirectory, removeInfraCgroup } from '../resources/index.ts';
import { TURN, step } from '../steps/index.ts';
import { allEnded } from '../sync/index.ts';
import type { PodContext } from './context.ts';
import { removePins } from './namespaces.ts';
import type { Sandbox } from './sandbox.ts';
import { gracePeriods, releaseShm, stopNetwork } from './stop.ts';

/** RemovePodSandbox [D105–D109]: a running pod is stopped and removed with its containers. Repeatable after a failure in the middle. */
export async function removeSandbox(ctx: PodContext, sandbox: Sandbox, secondsLeft?: number): Promise<void> {
  await ctx.tracer.operation('RemovePodSandbox', { pod: sandbox.id, name: sandbox.name }, () => remove(ctx, sandbox, secondsLeft));
}

async function remove(ctx: PodContext, sandbox: Sandbox, secondsLeft: number | undefined): Promise<void> {
  using _ = await step(TURN, () => sandbox.lock.acquire());
  if (sandbox.removed) return;
  sandbox.stopped = true;
  sandbox.touch();
  await step('creations end', () => sandbox.admission.drained());
  const grace = gracePeriods(secondsLeft);
  await step('remove containers', () => removeContainers(ctx, sandbox, grace.containers));
  await step('remove infra container', () => removeInfra(ctx, sandbox, grace.infra));
  try {
    await stopNetwork(ctx, sandbox);
  } catch (error) {
    throw wrap('stop pod network', error);
  }
  await removePins(sandbox.facts.pins);
  try {
    await releaseShm(sandbox);
  } catch (error) {
    throw wrap('unable to unmount SHM', error);
  }
  await step('delete record', () => ctx.store.deleteContainer(sandbox.id));
  sandbox.removed = true;
  ctx.registry.delete(sandbox);
  ctx.tracer.forget(sandbox.id);
  ctx.onEvent('deleted', sandbox);
  ctx.log.info(`Removed pod sandbox: ${sandbox.id}`);
}

async function removeContainers(ctx: PodContext, sandbox: Sandbox, grace: number): Promise<void> {
  await allEnded(
    [...sandbox.containers].map(async (container) => {
      await removeContainer(ctx.containers, container, grace);
      sandbox.containers.delete(container);
    }),
  );
}

async function removeInfra(ctx: PodContext, sandbox: Sandbox, grace: number): Promise<void> {
  const { infra } = sandbox;
  if (infra === undefined) {
    removeInfraCgroup(droppedInfraDirectory(ctx.settings.cgroupManager, sandbox.facts.cgroupParent, sandbox.id));
    return;
  }
  await stopContainer(ctx.containers, infra, grace);
  await sandbox.facts.runtime.delete(sandbox.id);
  await removeMonitorFiles(ctx.containers, sandbox.id, sandbox.facts.cgroupsPath);
  infra.removed = true;
  ctx.containers.registry.deleteInfra(infra);
}
