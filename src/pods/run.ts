import { hostname as nodeName } from 'node:os';
import { textOf } from '../errors/index.ts';
import type { SandboxId } from '../ids/index.ts';
import type { PodSandboxConfig } from '../oci/spec/index.ts';
import { step } from '../steps/index.ts';
import { UndoStack, allEnded } from '../sync/index.ts';
import type { Intent, Progress } from '../containers/index.ts';
import type { PodContext } from './context.ts';
import { checkNetworkLater } from './check-network.ts';
import { startInfra, writeSpoofedState } from './infra.ts';
import { type Connection, connect, newPins, pinNamespaces, podNetwork } from './namespaces.ts';
import { linkLogs } from './link-logs.ts';
import { type SandboxPlan, planSandbox, requestedMetadata } from './plan.ts';
import type { SandboxIntent } from './recover.ts';
import { Sandbox, type SandboxFacts } from './sandbox.ts';
import { buildSpec, saveSpec } from './spec.ts';
import { type SandboxStorage, prepareRecord, prepareStorage } from './storage.ts';
import { annotationWarning } from './userns/index.ts';
import { checkParentMemory, droppedInfraDirectory, makeInfraCgroup, sandboxCgroupsPath } from '../resources/index.ts';

/**
 * RunPodSandbox [D31–D82]. A pod of that name that exists already is the answer [D18]; one that is being made is waited for;
 * a client that leaves finds the finished pod with its next try. A failure leaves nothing behind.
 */
export async function runSandbox(
  ctx: PodContext,
  request: { readonly config: PodSandboxConfig | undefined; readonly runtimeHandler: string },
  signal?: AbortSignal,
): Promise<SandboxId> {
  const { config, name } = requestedMetadata(request.config);
  await ctx.registry.named(name)?.leaving;
  const existing = ctx.registry.named(name);
  if (existing !== undefined) return existing.id;
  return await ctx.creations.join(name, (progress) => create(ctx, config, request.runtimeHandler, progress), signal);
}

async function create(ctx: PodContext, config: PodSandboxConfig, runtimeHandler: string, progress: Progress): Promise<SandboxId> {
  progress.enter('sandbox creating');
  const runtime = ctx.runtimes.get(runtimeHandler);
  const plan = planSandbox(config, runtimeHandler, runtime, {
    nodeName: nodeName(),
    pins: newPins(ctx.settings.namespacesDir),
    ...ctx.settings,
  });
  const deprecated = annotationWarning(config.linux?.securityContext, plan.annotations);
  if (deprecated !== undefined) ctx.log.warn(deprecated);
  return await ctx.tracer.operation('RunPodSandbox', { pod: plan.id, name: plan.name }, () => make(ctx, plan, progress));
}

async function make(ctx: PodContext, plan: SandboxPlan, progress: Progress): Promise<SandboxId> {
  const { cgroupManager } = ctx.settings;
  const unlimited = checkParentMemory(cgroupManager, plan.config.linux?.cgroupParent ?? '', plan.runtime.handler.minMemory);
  if (unlimited !== undefined) ctx.log.warn(unlimited);
  if (!plan.hostNetwork) await step('network ready', () => ctx.network.whenReady());
  progress.enter('sandbox network ready');
  const undo = new UndoStack(ctx.log);
  const journal = await ctx.journal.begin(intentOf(ctx, plan));
  try {
    const { sandbox, checkNetwork } = await build(ctx, plan, undo, progress);
    await journal.end(); // Before anybody can find it: what a retry was told of must not be undone.
    undo.release();
    ctx.registry.add(sandbox);
    await linkLogs(ctx, sandbox);
    if (sandbox.infra?.state.status === 'stopped') await sandbox.markStopped(); // It ended before the pod could be told.
    ctx.onEvent('started', sandbox);
    if (checkNetwork !== undefined) void checkNetworkLater(ctx, sandbox, checkNetwork);
    ctx.log.info(`Ran pod sandbox ${plan.id} with infra container: ${plan.metadata.namespace}/${plan.metadata.name}/POD`);
    return plan.id;
  } catch (error) {
    ctx.log.warn(`Pod ${plan.metadata.namespace}/${plan.metadata.name} failed at stage "${progress.stage}", undoing: ${textOf(error)}`);
    await journal.end(await undo.run());
    throw error;
  }
}

/** What a start after a crash must know to take away whatever there is of this pod by then. */
function intentOf(ctx: PodContext, plan: SandboxPlan): Intent {
  const network = podNetwork(plan);
  const sandbox: SandboxIntent = {
    pins: plan.pins,
    network: plan.hostNetwork ? undefined : { ...network, annotations: [...network.annotations] },
    infraCgroup: plan.dropInfra ? infraDirectory(ctx, plan) : undefined,
  };
  const cgroupsPath = sandboxCgroupsPath(ctx.settings.cgroupManager, plan.config.linux?.cgroupParent ?? '', plan.id);
  return { kind: 'sandbox', id: plan.id, runtimeHandler: plan.runtimeHandler, logPath: plan.logPath, cgroupsPath, sandbox };
}

function infraDirectory(ctx: PodContext, plan: SandboxPlan): string | undefined {
  return droppedInfraDirectory(ctx.settings.cgroupManager, plan.config.linux?.cgroupParent ?? '', plan.id);
}

/**
 * Storage beside network: the two long parts need nothing of each other. But a user namespace has the ids of the pod's record, and
 * root file system and files belong to its root.
 */
async function build(
  ctx: PodContext,
  plan: SandboxPlan,
  undo: UndoStack,
  progress: Progress,
): Promise<{ readonly sandbox: Sandbox; readonly checkNetwork: Connection['check'] }> {
  progress.enter('sandbox storage creation');
  const record = prepareRecord(ctx, plan, undo);
  const ids = plan.userns === undefined ? Promise.resolve(undefined) : record.then(({ idMappings }) => idMappings);
  const namespaces = ids.then((idMappings) => step('namespaces', () => pinNamespaces(ctx, plan, idMappings, undo)));
  const [storage, network] = await allEnded([
    step('storage', () => prepareStorage(ctx, plan, record, namespaces, undo)),
    connect(ctx, plan, namespaces, undo, progress),
  ]);
  progress.enter('sandbox spec configuration');
  const { spec, cgroupsPath, warnings } = await buildSpec(ctx, plan, storage, network);
  for (const warning of warnings) ctx.log.warn(`Pod ${plan.name}: ${warning}`);
  await step('config.json', () => saveSpec(spec, storage));
  const sandbox = new Sandbox(factsOf(plan, storage, spec, cgroupsPath), { ips: network.ips, cniResult: network.result });
  progress.enter('sandbox container runtime creation');
  if (plan.dropInfra) {
    undo.push(`remove cgroup of ${plan.id}`, await step('cgroup', () => makeInfraCgroup(infraDirectory(ctx, plan))));
    await step('state.json', () => writeSpoofedState(storage.runDirectory, plan.createdAt));
  } else {
    sandbox.infra = await step('infra container', () => startInfra(ctx, plan, storage, spec, sandbox, undo));
  }
  return { sandbox, checkNetwork: network.check };
}

function factsOf(plan: SandboxPlan, storage: SandboxStorage, spec: SandboxFacts['spec'], cgroupsPath: string): SandboxFacts {
  const { id, name, infraName, metadata, labels, annotations, createdAt, hostname, namespaceOptions } = plan;
  const { hostNetwork, privileged, portMappings, logDirectory, runtimeHandler, runtime, pins, namesHostIds } = plan;
  return {
    id,
    name,
    infraName,
    metadata,
    labels,
    annotations,
    createdAt,
    hostname,
    namespaceOptions,
    hostNetwork,
    privileged,
    portMappings,
    logDirectory,
    runtimeHandler,
    runtime,
    pins,
    idMappings: storage.idMappings,
    namesHostIds,
    spec,
    cgroupsPath,
    cgroupParent: plan.config.linux?.cgroupParent ?? '',
    resolvPath: storage.resolvPath,
    hostnamePath: storage.hostnamePath,
    shmPath: storage.shmPath,
    directory: storage.directory,
    runDirectory: storage.runDirectory,
  };
}
