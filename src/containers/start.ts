import { nowNs } from '../clock/index.ts';
import { Failure, textOf, wrap } from '../errors/index.ts';
import { TURN, step } from '../steps/index.ts';
import { type Container, subjectOf } from './container.ts';
import type { ContainerContext } from './context.ts';
import { removeContainer } from './remove.ts';

/**
 * StartContainer [D131–D134]. A failed start removes the container completely. One that runs already is success: the
 * reply of the start that did it was lost (p04); so is one that has run and ended where that is known of its start.
 */
export async function startContainer(ctx: ContainerContext, container: Container): Promise<void> {
  await ctx.tracer.operation('StartContainer', subjectOf(container), () => start(ctx, container));
}

async function start(ctx: ContainerContext, container: Container): Promise<void> {
  const { id, runtime } = container.facts;
  let begun = false;
  try {
    using _ = await step(TURN, () => container.lock.acquire());
    if (container.state.status === 'running' && !container.removed) return;
    if (container.startUnanswered && container.state.status === 'stopped' && container.state.startedAt !== undefined) return;
    if (container.state.status !== 'created' || container.removed) {
      throw new Failure('FailedPrecondition', `container ${id} is not in created state: ${container.state.status}`);
    }
    const startedAt = nowNs(); // Before, not after: a process that ends at once must not seem to have ended before it began.
    begun = true;
    try {
      await runtime.start(id);
    } catch (error) {
      throw wrap(`failed to start container ${id}`, error);
    }
    await step('state.json', () => container.become({ status: 'running', startedAt }));
  } catch (error) {
    if (begun) {
      await removeContainer(ctx, container).catch((cleanup) =>
        ctx.log.error(`Removing container ${id} after its start failed: ${textOf(cleanup)}`),
      );
    }
    throw error;
  }
  ctx.onEvent('started', container);
}
