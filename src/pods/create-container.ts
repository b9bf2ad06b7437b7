import { type Creation, createIn } from '../containers/index.ts';
import { Failure, wrap } from '../errors/index.ts';
import type { ContainerId } from '../ids/index.ts';
import type { ContainerConfig, PodSandboxConfig } from '../oci/spec/index.ts';
import type { PodContext } from './context.ts';
import { linkContainerLog } from './link-logs.ts';
import type { Sandbox } from './sandbox.ts';

export interface CreateRequest {
  readonly podSandboxId: string;
  readonly config: ContainerConfig | undefined;
  readonly sandboxConfig: PodSandboxConfig | undefined;
}

/** CreateContainer's first half: the request and its pod [D119–D122]; the rest is containers/create. */
export async function createContainer(ctx: PodContext, request: CreateRequest, signal?: AbortSignal): Promise<ContainerId> {
  const creation = checkRequest(request);
  const sandbox = findSandbox(ctx, request.podSandboxId);
  refuseIfStopped(sandbox);
  refuseIfUnmapped(sandbox);
  return await createIn(
    ctx.containerCreation,
    sandbox,
    creation,
    async (work) => {
      return await sandbox.admission.enter(async () => {
        refuseIfStopped(sandbox);
        const container = await work();
        sandbox.containers.add(container);
        await linkContainerLog(ctx, sandbox, container);
        return container;
      });
    },
    signal,
  );
}

function checkRequest({ config, sandboxConfig }: CreateRequest): Creation {
  const refuse = (what: string) => new Failure('InvalidArgument', `${what} is nil`);
  if (config === undefined) throw refuse('config');
  if (config.image === undefined) throw refuse('config image');
  if (sandboxConfig === undefined) throw refuse('sandbox config');
  if (sandboxConfig.metadata === undefined) throw refuse('sandbox config metadata');
  if (config.metadata === undefined) throw new Failure('InvalidArgument', 'setting container config: metadata is nil');
  if (config.metadata.name === '') throw new Failure('InvalidArgument', 'setting container config: name is empty');
  return { config, image: config.image, metadata: config.metadata, pod: sandboxConfig, podMetadata: sandboxConfig.metadata };
}

function findSandbox(ctx: PodContext, id: string): Sandbox {
  try {
    return ctx.registry.find(id);
  } catch (error) {
    if (id === '') throw error;
    throw wrap(`specified sandbox not found: ${id}`, error);
  }
}

function refuseIfStopped(sandbox: Sandbox): void {
  if (sandbox.stopped) throw new Failure('FailedPrecondition', `CreateContainer failed as the sandbox was stopped: ${sandbox.id}`);
}

/** A restored pod whose spec has lost its maps: a container in its namespace would own nothing [D91]. */
function refuseIfUnmapped({ id, facts }: Sandbox): void {
  if (facts.pins.user === undefined || facts.idMappings !== undefined) return;
  throw new Failure('FailedPrecondition', 'infra container not found', {
    advice: `The id mappings of pod ${id} are missing in its config.json: remove the pod, the kubelet makes it again.`,
  });
}
