import { setTimeout as delay } from 'node:timers/promises';
import { textOf } from '../errors/index.ts';
import type { PodContext } from './context.ts';
import type { Sandbox } from './sandbox.ts';

/** The operation in a pod's timeline that no client asked for. */
export const CHECK_NETWORK = 'CheckNetwork';

/** In which a pod's first containers come up, as a rule: CHECK takes as much of the node as the creation of one. */
const PODS_OWN_MS = 1000;

/**
 * ADD said that the network is there; CHECK, which asks the same plugins again, waits until the pod has had its time to start. A
 * pod that fails it is not ready any more, and a kubelet makes another (docs/parity.md, H38). Never fails.
 */
export async function checkNetworkLater(ctx: PodContext, sandbox: Sandbox, check: () => Promise<void>): Promise<void> {
  await delay(PODS_OWN_MS, undefined, { ref: false });
  if (sandbox.networkStopped) return;
  try {
    await ctx.tracer.operation(CHECK_NETWORK, { pod: sandbox.id, name: sandbox.name }, check);
  } catch (error) {
    if (sandbox.stopped) return;
    ctx.log.error(`Pod ${sandbox.name} is not ready any more: ${textOf(error)}`);
    await sandbox.markStopped();
    ctx.onEvent('stopped', sandbox);
  }
}
