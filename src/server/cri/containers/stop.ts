import { type ContainerContext, stopContainer } from '../../../containers/index.ts';
import type { StopContainerRequest, StopContainerResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';
import { findContainerIfAny } from './lookup.ts';

export function stopContainerRpc(containers: ContainerContext): Handler<StopContainerRequest, StopContainerResponse> {
  return async ({ containerId, timeout }, rpc) => {
    const container = findContainerIfAny(containers.registry, containerId);
    if (container !== undefined) await stopContainer(containers, container, Number(timeout), rpc.signal);
    return {};
  };
}
