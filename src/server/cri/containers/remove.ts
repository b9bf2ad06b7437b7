import { type ContainerContext, removeContainer } from '../../../containers/index.ts';
import { orAborted } from '../../../sync/index.ts';
import type { RemoveContainerRequest, RemoveContainerResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';
import { findContainerIfAny } from './lookup.ts';

export function removeContainerRpc(containers: ContainerContext): Handler<RemoveContainerRequest, RemoveContainerResponse> {
  return async ({ containerId }, rpc) => {
    const container = findContainerIfAny(containers.registry, containerId);
    if (container !== undefined) await orAborted(removeContainer(containers, container, rpc.secondsLeft()), rpc.signal);
    return {};
  };
}
