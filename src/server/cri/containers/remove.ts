import { type ContainerContext, removeContainer } from '../../../containers/index.ts';
import { orAborted } from '../../../sync/index.ts';
import type { RemoveContainerRequest, RemoveContainerResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';
import { describeContainer } from './describe.ts';
import { findContainerIfAny } from './lookup.ts';

export function removeContainerRpc(containers: ContainerContext): Handler<RemoveContainerRequest, RemoveContainerResponse> {
  return async ({ containerId }, rpc) => {
    const container = findContainerIfAny(containers.registry, containerId);
    if (container === undefined) return {};
    rpc.log.info(`Removing container: ${container.id}`);
    await orAborted(removeContainer(containers, container, graceWithin(rpc.secondsLeft())), rpc.signal);
    rpc.log.info(`Removed container ${container.id}: ${describeContainer(container)}`);
    return {};
  };
}

/** A second less than the client waits, as for a pod's containers [D96, D152]: the removal of one that must be killed is to answer in time. */
function graceWithin(secondsLeft: number | undefined): number | undefined {
  if (secondsLeft === undefined) return undefined;
  return secondsLeft < 2 ? secondsLeft / 2 : secondsLeft - 1;
}
