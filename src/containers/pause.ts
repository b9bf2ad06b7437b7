import { Failure } from '../errors/index.ts';
import type { Container } from './container.ts';
import { startedAt } from './state.ts';

/** Freezes a container that runs, or waits for its start [K65, C82]. Fails with FailedPrecondition in any other state. */
export async function pauseContainer(container: Container): Promise<void> {
  using _ = await container.lock.acquire();
  const { status } = container.state;
  if ((status !== 'running' && status !== 'created') || container.removed) {
    throw new Failure('FailedPrecondition', `container is not in running or created state, now is ${status}`);
  }
  await container.facts.runtime.pause(container.id);
  await container.become({ status: 'paused', startedAt: startedAt(container.state) ?? 0n });
}

/** The way back [K65, C83]: to where it was, which the runtime knows. */
export async function unpauseContainer(container: Container): Promise<void> {
  using _ = await container.lock.acquire();
  const { state } = container;
  if (state.status !== 'paused' || container.removed) {
    throw new Failure('FailedPrecondition', `container is not in paused state, now is ${state.status}`);
  }
  const { runtime } = container.facts;
  await runtime.resume(container.id);
  const { status } = await runtime.state(container.id);
  await container.become(status === 'created' ? { status } : { status: 'running', startedAt: state.startedAt });
}
