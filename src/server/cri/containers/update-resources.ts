import { type ContainerContext, updateResources } from '../../../containers/index.ts';
import { orAborted } from '../../../sync/index.ts';
import type { UpdateContainerResourcesRequest, UpdateContainerResourcesResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

/** Only `linux` is looked at [D190, D192]. */
export function updateContainerResources(
  containers: ContainerContext,
  node: { readonly swapAccounting: boolean; readonly sharedCpuset: string },
): Handler<UpdateContainerResourcesRequest, UpdateContainerResourcesResponse> {
  return async ({ containerId, linux }, rpc) => {
    await orAborted(updateResources(containers.registry.find(containerId), linux, node), rpc.signal);
    return {};
  };
}
