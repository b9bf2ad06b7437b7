import { stopContainer } from '../containers/index.ts';
import { Failure, textOf } from '../errors/index.ts';
import { unlinkLogs } from './link-logs.ts';
import { removePins } from './namespaces.ts';
import { TURN, step } from '../steps/index.ts';
import type { PodContext } from './context.ts';
import type { Sandbox } from './sandbox.ts';
import { removeShm } from './storage.ts';

/** Seconds for the containers when the request has no deadline [D96]. */
const DEFAULT_GRACE_SECONDS = 10;
/**
 * A pause process has nothing to bring to an end, and the kernel drops a TERM that reaches it, as the first of its PID
 * namespace, before it has its handler: on a busy node that is so for a while after the start (docs/parity.md).
 */
const INFRA_GRACE_SECONDS = 1;

/** Grace periods of a pod's containers and of its infra container, from the seconds left to the request [D96]. */
export function gracePeriods(secondsLeft: number | undefined): { readonly containers: number; readonly infra: number } {
  const total = secondsLeft === undefined ? DEFAULT_GRACE_SECONDS : Math.max(0, Math.floor(secondsLeft));
  return { containers: total < 2 ? total / 2 : total - 1, infra: Math.min(total, INFRA_GRACE_SECONDS) };
}

/**
 * StopPodSandbox [D94–D104]: containers, infra container, network, namespaces, /dev/shm. Repeatable: each call goes on where
 * an earlier one failed, the network is tried again until it succeeded once. Containers end before their network does,
 * so that what they say on TERM still gets out (CRI-O takes the network away first; docs/parity.md).
 */
export async function stopSandbox(ctx: PodContext, sandbox: Sandbox, secondsLeft?: number): Promise<void> {
  await ctx.tracer.operation('StopPodSandbox', { pod: sandbox.id, name: sandbox.name }, () => stop(ctx, sandbox, secondsLeft));
}

async function stop(ctx: PodContext, sandbox: Sandbox, secondsLeft: number | undefined): Promise<void> {
  using _ = await step(TURN, () => sandbox.lock.acquire());
  if (sandbox.stopped && sandbox.networkStopped) return;
  const wasStopped = sandbox.stopped;
  sandbox.touch();
  sandbox.stopped = true; // No new containers from here on; the marker on disk follows when all has ended.
  await step('creations end', () => sandbox.admission.drained());
  try {
    const grace = gracePeriods(secondsLeft);
    await step('stop containers', () => stopContainers(ctx, sandbox, grace.containers));
    if (sandbox.infra !== undefined) await step('stop infra container', () => stopInfra(ctx, sandbox, grace.infra));
    await stopNetwork(ctx, sandbox);
    await removePins(sandbox.facts.pins);
    await releaseShm(sandbox);
    unlinkLogs(ctx, sandbox);
  } catch (error) {
    sandbox.stopped = wasStopped || sandbox.infra?.state.status === 'stopped'; // A pod whose pause process has gone is not ready again.
    sandbox.touch();
    throw error;
  }
  await step('mark stopped', () => sandbox.markStopped());
  ctx.onEvent('stopped', sandbox);
  ctx.log.info(`Stopped pod sandbox: ${sandbox.id}`);
}

async function stopContainers(ctx: PodContext, sandbox: Sandbox, grace: number): Promise<void> {
  const results = await Promise.allSettled(
    [...sandbox.containers].map(async (container) => {
      try {
        await stopContainer(ctx.containers, container, grace);
      } catch (error) {
        throw new Failure('Unknown', `stop containers in parallel: failed to stop container ${container.id}: ${textOf(error)}`, {
          cause: error,
        });
      }
    }),
  );
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

async function stopInfra(ctx: PodContext, sandbox: Sandbox, grace: number): Promise<void> {
  if (sandbox.infra === undefined) return;
  try {
    await stopContainer(ctx.containers, sandbox.infra, grace);
  } catch (error) {
    throw new Failure('Unknown', `failed to stop infra container for pod sandbox ${sandbox.id}: ${textOf(error)}`, { cause: error });
  }
}

/** Once only; a host network has nothing to take down [D102]. */
export async function stopNetwork(ctx: PodContext, sandbox: Sandbox): Promise<void> {
  if (sandbox.networkStopped) return;
  if (!sandbox.facts.hostNetwork) await step('network', () => ctx.network.detach(sandbox.network));
  await step('mark network stopped', () => sandbox.markNetworkStopped());
}

export async function releaseShm(sandbox: Sandbox): Promise<void> {
  if (sandbox.facts.shmPath.startsWith(sandbox.facts.runDirectory)) await step('shm', () => removeShm(sandbox.facts.shmPath));
}
