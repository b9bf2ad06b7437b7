import { wrap } from '../../../errors/index.ts';
import type { PodContext } from '../../../pods/index.ts';
import type { UpdatePodSandboxResourcesRequest, UpdatePodSandboxResourcesResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

/** The pod's own cgroup is the kubelet's: a pod that exists is success, nothing else is done without NRI [D198]. */
export function updatePodSandboxResources(pods: PodContext): Handler<UpdatePodSandboxResourcesRequest, UpdatePodSandboxResourcesResponse> {
  return async ({ podSandboxId }) => {
    try {
      pods.registry.find(podSandboxId);
    } catch (error) {
      throw wrap(`could not find pod "${podSandboxId}"`, error, 'NotFound');
    }
    return {};
  };
}
