import { type ContainerContext, execSync } from '../../../containers/index.ts';
import { orAborted } from '../../../sync/index.ts';
import type { ExecSyncRequest, ExecSyncResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';
import { findContainer } from './lookup.ts';

export function execSyncRpc(containers: ContainerContext): Handler<ExecSyncRequest, ExecSyncResponse> {
  return async ({ containerId, cmd, timeout }, rpc) =>
    await orAborted(execSync(findContainer(containers.registry, containerId), cmd, Number(timeout)), rpc.signal);
}
