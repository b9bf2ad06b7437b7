import { textOf } from '../errors/index.ts';
import { isLive } from '../containers/index.ts';
import { eachOf } from '../sync/index.ts';
import type { PodContext } from './context.ts';
import { removeSandbox } from './remove.ts';
import type { Sandbox } from './sandbox.ts';

const AT_ONCE = 2;

/**
 * Removes what an earlier boot or version left [O32, D188]: every pod in which nothing runs any more, by the normal way, so that CNI
 * plugins give back what they keep although the namespaces have gone [H59]; then the images of `images`, those that
 * pods which stayed do not need. Names are taken from the pods at once: a request for one of them waits for the removal.
 * What fails is logged; the kubelet removes what stays. The answer ends it all; call it before requests are served.
 */
export function wipePods(ctx: PodContext, images: ReadonlySet<string>): (signal: AbortSignal) => Promise<void> {
  const dead = ctx.registry.list().filter(isDead);
  const removals = dead.map((sandbox) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    sandbox.leaving = promise;
    return async () => {
      await removeSandbox(ctx, sandbox, 0).catch((error: unknown) =>
        ctx.log.warn(`Failed to remove sandbox ${sandbox.id}: ${textOf(error)}`),
      );
      sandbox.leaving = undefined;
      resolve();
    };
  });
  return async (signal) => {
    if (dead.length > 0) ctx.log.info(`Wiping ${dead.length} pods in which nothing runs any more`);
    await eachOf(removals, AT_ONCE, (remove) => remove(), signal);
    if (signal.aborted) return;
    for (const image of images)
      await ctx.images.remove(image).catch((error: unknown) => ctx.log.warn(`Failed to remove image ${image}: ${textOf(error)}`));
  };
}

function isDead(sandbox: Sandbox): boolean {
  const all = [...sandbox.containers, ...(sandbox.infra === undefined ? [] : [sandbox.infra])];
  return sandbox.stopped && !all.some((container) => isLive(container.state));
}
