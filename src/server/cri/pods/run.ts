import { type PodContext, runSandbox } from '../../../pods/index.ts';
import type { RunPodSandboxRequest, RunPodSandboxResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

export function runPodSandbox(pods: PodContext): Handler<RunPodSandboxRequest, RunPodSandboxResponse> {
  return async ({ config, runtimeHandler }, rpc) => {
    rpc.log.info(`Running pod sandbox: ${config?.metadata?.namespace ?? ''}/${config?.metadata?.name ?? ''}/POD`);
    return { podSandboxId: await runSandbox(pods, { config, runtimeHandler }, rpc.signal) };
  };
}
