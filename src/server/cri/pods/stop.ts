import { type PodContext, stopSandbox } from '../../../pods/index.ts';
import { orAborted } from '../../../sync/index.ts';
import type { StopPodSandboxRequest, StopPodSandboxResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

/** A pod that does not exist is stopped [D92]. The work goes on when the client leaves; its retry joins it. */
export function stopPodSandbox(pods: PodContext): Handler<StopPodSandboxRequest, StopPodSandboxResponse> {
  return async ({ podSandboxId }, rpc) => {
    const sandbox = pods.registry.findIfAny(podSandboxId);
    if (sandbox === undefined) rpc.log.warn(`Could not get sandbox ${podSandboxId}, it's probably been stopped already`);
    else {
      rpc.log.info(`Stopping pod sandbox: ${sandbox.id}`);
      await orAborted(stopSandbox(pods, sandbox, rpc.secondsLeft()), rpc.signal);
    }
    return {};
  };
}
