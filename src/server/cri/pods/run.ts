import { type PodContext, runSandbox } from '../../../pods/index.ts';
import type { RunPodSandboxRequest, RunPodSandboxResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

export function runPodSandbox(pods: PodContext): Handler<RunPodSandboxRequest, RunPodSandboxResponse> {
  return async ({ config, runtimeHandler }, rpc) => ({ podSandboxId: await runSandbox(pods, { config, runtimeHandler }, rpc.signal) });
}
