import { setTimeout as delay } from 'node:timers/promises';
import { orAborted } from '../../sync/index.ts';
import { type ContainerStatus, ContainerState, services } from '../../wire/index.ts';
import { Failure } from '../../errors/index.ts';
import type { CriConnection } from './connection.ts';

const FIRST_WAIT_MS = 10;
const LONGEST_WAIT_MS = 500;

/**
 * The status of a container once it has exited. Asks again and again, ever more slowly: CRI's only event,
 * GetContainerEvents, is off unless `enable_pod_events` is set [D219], and then its stream just ends.
 */
export async function waitForExit(cri: CriConnection, containerId: string, signal?: AbortSignal): Promise<ContainerStatus> {
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 1.5, LONGEST_WAIT_MS)) {
    const { status } = await cri.call(services.RuntimeService.ContainerStatus, { containerId }, signal === undefined ? {} : { signal });
    if (status === undefined) throw new Failure('Internal', `no status of container ${containerId}`);
    if (status.state === ContainerState.CONTAINER_EXITED) return status;
    await orAborted(delay(wait), signal);
  }
}
