import { type ContainerContext, startContainer } from '../../../containers/index.ts';
import { orAborted } from '../../../sync/index.ts';
import type { StartContainerRequest, StartContainerResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';
import { findContainer } from './lookup.ts';

export function startContainerRpc(containers: ContainerContext): Handler<StartContainerRequest, StartContainerResponse> {
  return async ({ containerId }, rpc) => {
    await orAborted(startContainer(containers, findContainer(containers.registry, containerId)), rpc.signal);
    return {};
  };
}
