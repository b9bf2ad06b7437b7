import { mkdir, rm, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { type Nanoseconds, nowNs } from '../../clock/index.ts';
import { Failure, codeOf, textOf } from '../../errors/index.ts';
import { type ContainerId, newHexId } from '../../ids/index.ts';
import { signalProcess } from '../../linux/index.ts';
import { createUnderMonitor } from '../../oci/monitor/index.ts';
import { explainIdMaps } from '../../oci/rootfs/index.ts';
import { type ContainerConfig, type OciSpec, encodeSpec, filterAnnotations, withSecurityContext } from '../../oci/spec/index.ts';
import { containerCgroupsPath } from '../../resources/index.ts';
import { step } from '../../steps/index.ts';
import { UndoStack } from '../../sync/index.ts';
import { Container } from '../container.ts';
import type { Progress } from '../creations.ts';
import { takeExit } from '../exit.ts';
import type { Intent, JournalEntry } from '../journal.ts';
import { initIsAlive } from '../liveness.ts';
import { removeMonitorFiles } from '../remove.ts';
import { mountsOfSpec } from '../mounts.ts';
import { runtimePath } from '../platform.ts';
import { containerName } from '../names.ts';
import type { Creation, CreationContext, PodForCreation } from './context.ts';
import { type Storage, prepareStorage } from './image.ts';
import { checkPlatform } from './platform.ts';
import { planSpec } from './spec.ts';

/** Lets a creation in, or refuses it, as the pod decides [D95]. */
export type Guard = (work: () => Promise<Container>) => Promise<Container>;

/**
 * CreateContainer's second half [D123–D130]: a container of that name that exists already is the answer [D18]; one that is being
 * made is waited for. A failure leaves nothing behind.
 */
export async function createIn(
  ctx: CreationContext,
  pod: PodForCreation,
  creation: Creation,
  guard: Guard,
  signal?: AbortSignal,
): Promise<ContainerId> {
  const name = containerName(creation.metadata, creation.podMetadata);
  const existing = ctx.containers.registry.named(name);
  if (existing !== undefined) return existing.id;
  return await ctx.creations.join(name, async (progress) => (await guard(() => create(ctx, pod, creation, progress))).id, signal);
}

async function create(ctx: CreationContext, pod: PodForCreation, creation: Creation, progress: Progress): Promise<Container> {
  progress.enter('container creating');
  const config = effectiveConfig(pod, creation);
  const plan = { id: newHexId() as ContainerId, createdAt: nowNs(), config, privileged: checkPrivileged(config, creation) };
  const subject = { pod: pod.id, container: plan.id, name: containerName(creation.metadata, creation.podMetadata) };
  return await ctx.containers.tracer.operation('CreateContainer', subject, () => make(ctx, pod, creation, plan, progress));
}

/** What follows from the request alone: nothing has been made yet. */
interface Plan {
  readonly id: ContainerId;
  readonly createdAt: Nanoseconds;
  readonly config: ContainerConfig;
  readonly privileged: boolean;
}

async function make(ctx: CreationContext, pod: PodForCreation, creation: Creation, plan: Plan, progress: Progress): Promise<Container> {
  const { id, config, privileged } = plan;
  const undo = new UndoStack(ctx.log);
  let journal: JournalEntry | undefined;
  try {
    progress.enter('container storage creation');
    const logPath = logPathOf(pod, config, id);
    const cgroupsPath = containerCgroupsPath(ctx.settings.cgroupManager, pod.specFacts.cgroupParent, id);
    const intent: Intent = { kind: 'container', id, runtimeHandler: pod.runtimeHandler, logPath, cgroupsPath };
    const entry = (journal = await ctx.containers.journal.begin(intent));
    const storage = await step('storage', () => prepareStorage(ctx, pod, creation, plan, undo));
    progress.enter('container spec configuration');
    const { spec, warnings } = await step('root file system and spec', () =>
      planSpec(ctx, pod, config, storage, logPath, { namespace: creation.podMetadata.namespace, undo, journal: entry }),
    );
    checkPlatform(ctx, pod, creation, storage, spec);
    for (const warning of warnings) ctx.log.warn(`Container ${storage.name}: ${warning}`);
    await step('config.json', () => Promise.all([saveSpec(spec, storage), mkdir(dirname(logPath), { recursive: true, mode: 0o700 })]));
    progress.enter('container runtime creation');
    const container = await createProcess(ctx, pod, config, storage, spec, logPath, privileged, undo);
    await entry.end(); // Before anybody can find it: what a retry was told of must not be undone.
    undo.release();
    ctx.containers.registry.add(container);
    ctx.containers.watch(container);
    ctx.containers.onEvent('created', container);
    if (!initIsAlive(container)) await takeEarlyExit(ctx, container);
    ctx.log.info(
      `Created container ${container.id}: ${creation.podMetadata.namespace}/${creation.podMetadata.name}/${creation.metadata.name}`,
    );
    return container;
  } catch (error) {
    ctx.log.warn(`Container ${creation.metadata.name} of pod ${pod.name} failed at stage "${progress.stage}", undoing: ${textOf(error)}`);
    await journal?.end(await undo.run());
    throw error;
  }
}

/** Its exit was reported before the registry knew it, to nobody. */
async function takeEarlyExit(ctx: CreationContext, container: Container): Promise<void> {
  await takeExit(ctx.containers, container).catch((error) =>
    ctx.log.error(`Handling the exit of container ${container.id} failed: ${textOf(error)}`),
  );
}

/** Annotations that the handler does not allow are dropped; a missing security context is CRI-O's empty one [F6, F121]. */
function effectiveConfig(pod: PodForCreation, creation: Creation): ContainerConfig {
  const { allowedAnnotations, features } = pod.runtime.handler;
  const annotations = filterAnnotations(creation.config.annotations, allowedAnnotations, features.unsafeAnnotations);
  return withSecurityContext({ ...creation.config, annotations });
}

/** [D125] */
function checkPrivileged(config: ContainerConfig, creation: Creation): boolean {
  const wanted = config.linux?.securityContext?.privileged === true;
  if (wanted && creation.pod.linux?.securityContext?.privileged !== true) {
    throw new Failure('InvalidArgument', 'no privileged container allowed in sandbox');
  }
  return wanted;
}

/** Below the pod's log directory; without a log path of its own `<id>.log`. A path that leaves the directory is refused. */
function logPathOf(pod: PodForCreation, config: ContainerConfig, id: string): string {
  const relative = config.logPath === '' ? `${id}.log` : config.logPath;
  const path = posix.join(pod.logDirectory, relative);
  if (relative.includes('\0') || !path.startsWith(posix.join(pod.logDirectory, '/'))) {
    throw new Failure('InvalidArgument', `log path "${config.logPath}" leaves the log directory of its pod, ${pod.logDirectory}`);
  }
  return path;
}

async function saveSpec(spec: OciSpec, storage: Storage): Promise<void> {
  const text = encodeSpec(spec);
  await Promise.all(
    [storage.directory, storage.runDirectory].map((directory) => writeFile(join(directory, 'config.json'), text, { mode: 0o644 })),
  );
}

/** What is no file was there before: conmon opened no log. */
async function removeLog(path: string): Promise<void> {
  await rm(path, { force: true }).catch((error: unknown) => {
    if (codeOf(error) !== 'ERR_FS_EISDIR') throw error;
  });
}

async function createProcess(
  ctx: CreationContext,
  pod: PodForCreation,
  config: ContainerConfig,
  storage: Storage,
  spec: OciSpec,
  logPath: string,
  privileged: boolean,
  undo: UndoStack,
): Promise<Container> {
  const { id, name, image, directory, runDirectory } = storage;
  const { runtime } = pod;
  const { tty, stdin, stdinOnce } = config;
  undo.push(`delete ${id} from the runtime`, async () => {
    await runtime.delete(id);
    await removeLog(logPath); // [D130]
    await removeMonitorFiles(ctx.containers, id, spec.linux.cgroupsPath);
  });
  const processes = await createUnderMonitor(
    runtime.handler,
    {
      id,
      name,
      runtimePath: runtimePath(spec, runtime),
      cgroupsPath: spec.linux.cgroupsPath ?? '',
      bundle: runDirectory,
      persistDir: directory,
      logPath,
      tty,
      stdin,
      stdinOnce,
    },
    ctx.monitorSettings,
  ).catch(async (error: unknown) => {
    throw await explainIdMaps(error, spec.mounts, pod.specFacts.namespaces.user);
  });
  // Before that: it would write down an exit of which nobody is to know.
  const { pid, startTime } = processes.monitor;
  undo.push(`end the monitor of ${id}`, () => signalProcess(pid, startTime, constants.signals.SIGKILL));
  const container = new Container(
    {
      id,
      name,
      pod,
      runtime,
      spec,
      directory,
      runDirectory,
      stateDirectory: directory,
      logPath,
      tty,
      stdin,
      stdinOnce,
      privileged,
      metadata: config.metadata ?? { name: '', attempt: 0 },
      labels: config.labels,
      annotations: config.annotations,
      createdAt: storage.createdAt,
      image: { requested: config.image?.image ?? '', id: image.id, someName: image.someName ?? '', repoDigests: image.repoDigests },
      mounts: mountsOfSpec(spec),
      stopSignal: spec.annotations['org.opencontainers.image.stopSignal'] ?? '',
    },
    { state: { status: 'created' } },
  );
  await step('state.json', () => container.become({ status: 'created' }, processes));
  return container;
}
