import { type ContainerContext, reopenLog } from '../../../containers/index.ts';
import { orAborted } from '../../../sync/index.ts';
import type { ReopenContainerLogRequest, ReopenContainerLogResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';
import { findContainer } from './lookup.ts';

export function reopenContainerLog(containers: ContainerContext): Handler<ReopenContainerLogRequest, ReopenContainerLogResponse> {
  return async ({ containerId }, rpc) => {
    await orAborted(reopenLog(findContainer(containers.registry, containerId)), rpc.signal);
    return {};
  };
}
