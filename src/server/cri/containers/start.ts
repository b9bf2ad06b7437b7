import { type ContainerContext, startContainer } from '../../../containers/index.ts';
import { orAborted } from '../../../sync/index.ts';
import type { StartContainerRequest, StartContainerResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';
import { describeContainer } from './describe.ts';
import { findContainer } from './lookup.ts';

export function startContainerRpc(containers: ContainerContext): Handler<StartContainerRequest, StartContainerResponse> {
  return async ({ containerId }, rpc) => {
    const container = findContainer(containers.registry, containerId);
    rpc.log.info(`Starting container: ${container.id}`);
    try {
      await orAborted(startContainer(containers, container), rpc.signal);
      container.startUnanswered = false;
      rpc.log.info(`Started container ${container.id}: ${describeContainer(container)}`);
    } catch (error) {
      if (rpc.signal.aborted) container.startUnanswered = true;
      throw error;
    }
    return {};
  };
}
