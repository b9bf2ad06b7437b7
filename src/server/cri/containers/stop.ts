import { type ContainerContext, stopContainer } from '../../../containers/index.ts';
import type { StopContainerRequest, StopContainerResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';
import { describeContainer } from './describe.ts';
import { findContainerIfAny } from './lookup.ts';

export function stopContainerRpc(containers: ContainerContext): Handler<StopContainerRequest, StopContainerResponse> {
  return async ({ containerId, timeout }, rpc) => {
    const container = findContainerIfAny(containers.registry, containerId);
    if (container === undefined) return {};
    rpc.log.info(`Stopping container: ${container.id} (timeout: ${timeout}s)`);
    await stopContainer(containers, container, Number(timeout), rpc.signal);
    rpc.log.info(`Stopped container ${container.id}: ${describeContainer(container)}`);
    return {};
  };
}
