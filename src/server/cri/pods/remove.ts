import { type PodContext, removeSandbox } from '../../../pods/index.ts';
import { orAborted } from '../../../sync/index.ts';
import type { RemovePodSandboxRequest, RemovePodSandboxResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

/** A pod that does not exist is removed [D105]. */
export function removePodSandbox(pods: PodContext): Handler<RemovePodSandboxRequest, RemovePodSandboxResponse> {
  return async ({ podSandboxId }, rpc) => {
    const sandbox = pods.registry.findIfAny(podSandboxId);
    if (sandbox === undefined) rpc.log.warn(`Could not get sandbox ${podSandboxId}, it's probably been removed already`);
    else {
      rpc.log.info(`Removing pod sandbox: ${sandbox.id}`);
      await orAborted(removeSandbox(pods, sandbox, rpc.secondsLeft()), rpc.signal);
    }
    return {};
  };
}
