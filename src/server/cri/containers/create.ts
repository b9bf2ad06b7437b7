import { createContainer } from '../../../pods/index.ts';
import type { PodContext } from '../../../pods/index.ts';
import type { CreateContainerRequest, CreateContainerResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

export function createContainerRpc(pods: PodContext): Handler<CreateContainerRequest, CreateContainerResponse> {
  return async ({ podSandboxId, config, sandboxConfig }, rpc) => {
    const pod = sandboxConfig?.metadata;
    rpc.log.info(`Creating container: ${pod?.namespace ?? ''}/${pod?.name ?? ''}/${config?.metadata?.name ?? ''}`);
    return { containerId: await createContainer(pods, { podSandboxId, config, sandboxConfig }, rpc.signal) };
  };
}
