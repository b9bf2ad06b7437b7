import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import {
  type RestoredContainer,
  annotation,
  foreignManager,
  readSavedSpec,
  restoreContainer,
  restoreInfraContainer,
} from '../containers/index.ts';
import { Failure, textOf } from '../errors/index.ts';
import { isNamespaceFile } from '../linux/index.ts';
import type { OciSpec } from '../oci/spec/index.ts';
import type { ContainerRecord } from '../storage/index.ts';
import { eachOf } from '../sync/index.ts';
import type { PodContext } from './context.ts';
import { damagedContainerSpec, damagedSandboxSpec } from './damaged.ts';
import { Sandbox, type SandboxFacts } from './sandbox.ts';
import { cniResultOf, factsFromSpec } from './saved-facts.ts';

/** Clean-up beside requests: each piece takes locks of the store. */
const BEHIND_AT_ONCE = 2;

export interface Restored {
  readonly sandboxes: number;
  readonly containers: number;
  /** Records that could not be read: kept as they are and named in the log. */
  readonly broken: readonly string[];
  /** Ids of the images of all our records, read or not. */
  readonly images: ReadonlySet<string>;
  /** What remains to be done about what ended while no daemon ran; it may wait until requests are served (p31). Never fails. */
  readonly cleanUp: (signal: AbortSignal) => Promise<void>;
}

/**
 * Brings back every pod and container of the store [D178–D187]: pods first, from config.json alone, then their containers.
 * Running containers are not touched. Only small files are read, and at once: nobody is served yet, and a thread's answer
 * would take longer. No runtime and no plugin runs, so a node full of dead pods answers soon (p31). Unlike CRI-O a record
 * that cannot be read is never deleted: it is listed, as far as the storage's own record tells what it was, so that it can be removed.
 */
export async function restoreAll(ctx: PodContext, isDebris: (id: string) => boolean): Promise<Restored> {
  const broken: string[] = [];
  const later: (() => Promise<void>)[] = [];
  const records = (await ctx.store.containers()).filter(({ id }) => !isDebris(id));
  const ours = records.flatMap((record) => {
    const kind = kindOfRecord(record);
    return kind === undefined ? [] : [{ record, kind }];
  });
  const restoreKind = async <T>(kind: 'sandbox' | 'container', restore: (record: ContainerRecord) => Promise<T>): Promise<T[]> => {
    const found: T[] = [];
    for (const { record } of ours.filter((one) => one.kind === kind)) {
      try {
        if (!(await isRemnant(ctx, record))) found.push(await restore(record));
      } catch (error) {
        broken.push(record.id);
        ctx.log.error(`Could not restore ${kind} ${record.id}, leaving its record alone: ${textOf(error)}`);
      }
    }
    return found;
  };
  const pods = await restoreKind('sandbox', (record) => restoreSandbox(ctx, record));
  const lost = pods.filter((pod) => pod.lost).length;
  if (lost > 0) ctx.log.warn(`${lost} pods lost their namespaces or infra containers while crio was away: they count as stopped`);
  for (const { sandbox, infra } of pods) {
    ctx.registry.add(sandbox);
    if (infra?.afterwards !== undefined) later.push(infra.afterwards);
  }
  const containers = await restoreKind('container', (record) => restoreInSandbox(ctx, record));
  for (const { sandbox, restored } of containers) {
    if (restored === undefined) continue;
    ctx.containers.registry.add(restored.container);
    sandbox?.containers.add(restored.container);
    if (restored.afterwards !== undefined) later.push(restored.afterwards);
  }
  const checkNetworks = await restoreNetworks(ctx);
  return {
    sandboxes: ctx.registry.list().length,
    containers: ctx.containers.registry.list().length,
    broken,
    images: new Set(ours.flatMap(({ record }) => record.image ?? [])),
    cleanUp: async (signal) => {
      const work = [...later, ...checkNetworks].map((run) => async () => {
        await run().catch((error: unknown) => ctx.log.error(`Cleaning up after the start failed: ${textOf(error)}`));
      });
      await eachOf(work, BEHIND_AT_ONCE, (run) => run(), signal);
    },
  };
}

/**
 * A record without config.json: its removal was cut off, or its making on a boot before this one. Processes come after that
 * file and go before it, so nothing can run here: the removal is finished.
 */
async function isRemnant(ctx: PodContext, record: ContainerRecord): Promise<boolean> {
  if (existsSync(posix.join(ctx.store.containerDirectory(record.id), 'config.json'))) return false;
  ctx.log.warn(`Record ${record.id} (${record.names.join(', ')}) has no config.json: finishing its removal`);
  await ctx.store.deleteContainer(record.id);
  return true;
}

/** CRI-O's are those whose metadata has pod-name and pod-id; anything else belongs to another tool [D178]. */
function kindOfRecord(record: ContainerRecord): 'sandbox' | 'container' | undefined {
  try {
    const metadata = JSON.parse(record.metadata) as Record<string, unknown>;
    if (typeof metadata['pod-name'] !== 'string' || typeof metadata['pod-id'] !== 'string' || metadata['pod-id'] === '') return undefined;
    return metadata['pod'] === true ? 'sandbox' : 'container';
  } catch {
    return undefined; // podman's and buildah's metadata need not be JSON.
  }
}

interface RestoredSandbox {
  readonly sandbox: Sandbox;
  readonly infra: RestoredContainer | undefined;
  /** Whether what held its namespaces ended while no daemon ran. */
  readonly lost: boolean;
}

async function restoreSandbox(ctx: PodContext, record: ContainerRecord): Promise<RestoredSandbox> {
  const paths = pathsOf(ctx, record);
  const readable = specOrError(paths);
  if (!('error' in readable)) ctx.runtimes.get(annotation(readable, 'RuntimeHandler') ?? ''); // One that is not configured is nobody's damage.
  try {
    if ('error' in readable) throw readable.error;
    return await sandboxOf(ctx, record, readable, factsFromSpec(ctx, record, readable, paths));
  } catch (error) {
    ctx.log.error(`Could not restore sandbox ${record.id}, it is listed as stopped with what its record tells: ${textOf(error)}`);
    const spec = await damagedSandboxSpec(ctx, record);
    const restored = await sandboxOf(ctx, record, spec, factsFromSpec(ctx, record, spec, paths));
    restored.sandbox.stopped = true;
    return restored;
  }
}

async function sandboxOf(ctx: PodContext, record: ContainerRecord, spec: OciSpec, facts: SandboxFacts): Promise<RestoredSandbox> {
  const sandbox = new Sandbox(facts, { ips: [], cniResult: cniResultOf(spec) });
  let infra: RestoredContainer | undefined;
  // Whether there is a pause process is the pod's own matter, whatever is configured today [D181].
  if (annotation(spec, 'Spoofed') !== 'true' && spec.annotations['spoofed.crio.io'] !== 'true') {
    infra = await restoreInfraContainer(ctx.containers, { ...pathsOf(ctx, record), id: record.id }, spec, sandbox, facts.runtime);
    sandbox.infra = infra.container;
    ctx.containers.registry.addInfra(infra.container);
  }
  sandbox.stopped = existsSync(posix.join(sandbox.stateDirectory, 'stopped'));
  sandbox.networkStopped = existsSync(posix.join(sandbox.stateDirectory, 'network-stopped'));
  const lost = !sandbox.stopped && (sandbox.infra?.state.status === 'stopped' || !pinsAreLive(facts));
  if (lost) {
    ctx.log.debug(
      `Pod ${facts.name} lost its ${infra === undefined ? 'namespaces' : 'infra container'} while crio was away: it counts as stopped`,
    );
    if (existsSync(sandbox.stateDirectory)) await sandbox.markStopped();
    else sandbox.stopped = true;
  }
  return { sandbox, infra, lost };
}

function specOrError(paths: Parameters<typeof readSavedSpec>[0]): OciSpec | { readonly error: unknown } {
  try {
    return readSavedSpec(paths);
  } catch (error) {
    return { error };
  }
}

/** Only the paths that the spec names: those are what containers would join. */
function pinsAreLive(facts: SandboxFacts): boolean {
  return facts.spec.linux.namespaces.every(({ path }) => path === undefined || isNamespaceFile(path));
}

async function restoreInSandbox(
  ctx: PodContext,
  record: ContainerRecord,
): Promise<{ readonly sandbox: Sandbox | undefined; readonly restored: RestoredContainer | undefined }> {
  const paths = { ...pathsOf(ctx, record), id: record.id };
  const readable = specOrError(paths);
  const manager = 'error' in readable ? undefined : foreignManager(readable);
  if (manager !== undefined) {
    ctx.log.info(`Container ${record.id} is managed by ${manager}, leaving it alone`);
    return { sandbox: undefined, restored: undefined };
  }
  try {
    if ('error' in readable) throw readable.error;
    const sandbox = podOf(ctx, annotation(readable, 'SandboxID') ?? '');
    return { sandbox, restored: await restoreContainer(ctx.containers, paths, readable, sandbox, sandbox.runtime) };
  } catch (error) {
    ctx.log.error(`Could not restore container ${record.id}, it is listed with what its record tells: ${textOf(error)}`);
    const { spec, podId } = damagedContainerSpec(record);
    const sandbox = podOf(ctx, podId);
    return { sandbox, restored: await restoreContainer(ctx.containers, paths, spec, sandbox, sandbox.runtime) };
  }
}

/** Pods back: leftovers of pods that are no more are collected, each pod gets its addresses [D187]. Answers what is to be checked later. */
async function restoreNetworks(ctx: PodContext): Promise<(() => Promise<void>)[]> {
  const connected = ctx.registry.list().filter((sandbox) => !sandbox.facts.hostNetwork && !sandbox.networkStopped);
  // It takes its lock now, before any request is served: no pod of later is garbage to it.
  void ctx.network.collectGarbage(connected.map((sandbox) => sandbox.network));
  const live = connected.filter((sandbox) => !sandbox.stopped);
  const known = await ctx.network.knownIps(live.map((sandbox) => sandbox.id));
  return live.map((sandbox) => {
    sandbox.ips = known.get(sandbox.id) ?? [];
    return () => checkNetwork(ctx, sandbox);
  });
}

/** The plugins confirm what they made. A pod whose plugins do not keeps the addresses it was given. */
async function checkNetwork(ctx: PodContext, sandbox: Sandbox): Promise<void> {
  try {
    const ips = await ctx.network.ipsOf(sandbox.network);
    if (ips.join() === sandbox.ips.join() || sandbox.stopped) return;
    sandbox.ips = ips;
    sandbox.touch();
  } catch (error) {
    if (!sandbox.stopped) ctx.log.warn(`Could not restore sandbox IP for ${sandbox.id}: ${textOf(error)}`);
  }
}

function podOf(ctx: PodContext, id: string): Sandbox {
  const sandbox = ctx.registry.get(id);
  if (sandbox === undefined) throw new Failure('NotFound', `could not get sandbox with id ${id}, skipping`);
  return sandbox;
}

function pathsOf(ctx: PodContext, record: ContainerRecord): { directory: string; runDirectory: string } {
  return { directory: ctx.store.containerDirectory(record.id), runDirectory: ctx.store.containerRunDirectory(record.id) };
}
