import { posix } from 'node:path';
import {
  type Container,
  annotation,
  createdAnnotation,
  foreignManager,
  infraName,
  jsonAnnotation,
  readSavedSpec,
  restoreContainer,
  restoreInfraContainer,
  stringMapAnnotation,
} from '../containers/index.ts';
import { Failure, textOf } from '../errors/index.ts';
import { exists } from '../files/index.ts';
import type { SandboxId } from '../ids/index.ts';
import { NAMESPACE_KINDS, type NamespaceKind, isNamespaceFile } from '../linux/index.ts';
import type { CniResult, PortMapping } from '../network/index.ts';
import type { OciSpec, PodSandboxMetadata } from '../oci/spec/index.ts';
import type { ContainerRecord } from '../storage/index.ts';
import type { PodContext } from './context.ts';
import { Sandbox, type SandboxFacts } from './sandbox.ts';

export interface RestoreReport {
  readonly sandboxes: number;
  readonly containers: number;
  /** Records that could not be read: kept as they are and named in the log. */
  readonly broken: readonly string[];
}

/**
 * Brings back every pod and container of the store [D178–D187]: pods first, from config.json alone, then their containers.
 * Running containers are not touched. Unlike CRI-O a record that cannot be read is reported and kept, never deleted.
 */
export async function restoreAll(ctx: PodContext): Promise<RestoreReport> {
  const broken: string[] = [];
  const records = await ctx.store.containers();
  const attempt = async (record: ContainerRecord, what: string, work: () => Promise<unknown>) => {
    try {
      if (!(await isRemnant(ctx, record))) await work();
    } catch (error) {
      broken.push(record.id);
      ctx.log.error(`Could not restore ${what} ${record.id}, leaving its record alone: ${textOf(error)}`);
    }
  };
  const ours = records.map((record) => ({ record, kind: kindOfRecord(record) }));
  for (const { record, kind } of ours) if (kind === 'sandbox') await attempt(record, 'sandbox', () => restoreSandbox(ctx, record));
  for (const { record, kind } of ours) if (kind === 'container') await attempt(record, 'container', () => restoreInSandbox(ctx, record));
  await restoreNetworks(ctx);
  return { sandboxes: ctx.registry.list().length, containers: ctx.containers.registry.list().length, broken };
}

/**
 * A record without config.json: its removal was cut off, or its making on a boot before this one. Processes come after that
 * file and go before it, so nothing can run here: the removal is finished.
 */
async function isRemnant(ctx: PodContext, record: ContainerRecord): Promise<boolean> {
  if (await exists(posix.join(ctx.store.containerDirectory(record.id), 'config.json'))) return false;
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

async function restoreSandbox(ctx: PodContext, record: ContainerRecord): Promise<void> {
  const paths = pathsOf(ctx, record);
  const spec = await readSavedSpec(paths.directory);
  const facts = factsFromSpec(ctx, record, spec, paths);
  const sandbox = new Sandbox(facts, { ips: [], cniResult: cniResultOf(spec) });
  if (annotation(spec, 'Spoofed') !== 'true' && spec.annotations['spoofed.crio.io'] !== 'true') {
    sandbox.infra = await restoreInfraContainer(ctx.containers, { ...paths, id: record.id }, spec, sandbox, facts.runtime);
  }
  sandbox.stopped = await exists(posix.join(sandbox.stateDirectory, 'stopped'));
  sandbox.networkStopped = await exists(posix.join(sandbox.stateDirectory, 'network-stopped'));
  if (!sandbox.stopped && (sandbox.infra?.state.status === 'stopped' || !pinsAreLive(facts))) {
    ctx.log.warn(
      `Pod ${facts.name} lost its ${sandbox.infra === undefined ? 'namespaces' : 'infra container'} while crio was away: it counts as stopped`,
    );
    await sandbox.markStopped();
  }
  ctx.registry.add(sandbox);
}

/** Only the paths that the spec names: those are what containers would join. */
function pinsAreLive(facts: SandboxFacts): boolean {
  return facts.spec.linux.namespaces.every(({ path }) => path === undefined || isNamespaceFile(path));
}

async function restoreInSandbox(ctx: PodContext, record: ContainerRecord): Promise<void> {
  const paths = pathsOf(ctx, record);
  const spec = await readSavedSpec(paths.directory);
  const manager = foreignManager(spec);
  if (manager !== undefined) {
    ctx.log.info(`Container ${record.id} is managed by ${manager}, leaving it alone`);
    return;
  }
  const sandboxId = annotation(spec, 'SandboxID') ?? '';
  const sandbox = ctx.registry.get(sandboxId);
  if (sandbox === undefined) throw new Failure('NotFound', `could not get sandbox with id ${sandboxId}, skipping`);
  const container: Container = await restoreContainer(ctx.containers, { ...paths, id: record.id }, spec, sandbox, sandbox.facts.runtime);
  sandbox.containers.add(container);
}

/** Leftovers of pods that are no more are collected, then each pod gets its addresses back [D187]. */
async function restoreNetworks(ctx: PodContext): Promise<void> {
  const connected = ctx.registry.list().filter((sandbox) => !sandbox.facts.hostNetwork && !sandbox.networkStopped);
  await ctx.network.collectGarbage(connected.map((sandbox) => sandbox.network));
  await Promise.all(
    connected.map(async (sandbox) => {
      try {
        sandbox.ips = await ctx.network.ipsOf(sandbox.network);
        sandbox.touch();
      } catch (error) {
        ctx.log.warn(`Could not restore the addresses of pod ${sandbox.facts.name}: ${textOf(error)}`);
      }
    }),
  );
}

function pathsOf(ctx: PodContext, record: ContainerRecord): { directory: string; runDirectory: string } {
  return { directory: ctx.store.containerDirectory(record.id), runDirectory: ctx.store.containerRunDirectory(record.id) };
}

function factsFromSpec(
  ctx: PodContext,
  record: ContainerRecord,
  spec: OciSpec,
  paths: { readonly directory: string; readonly runDirectory: string },
): SandboxFacts {
  const name = annotation(spec, 'Name') ?? '';
  if (name === '') throw new Failure('Unknown', 'sandbox name annotation cannot be empty');
  const metadata = metadataFromSpec(spec);
  const namespaceOptions = namespaceOptionsFromSpec(spec);
  const runtimeHandler = annotation(spec, 'RuntimeHandler') ?? '';
  return {
    id: record.id as string as SandboxId,
    name,
    infraName: annotation(spec, 'ContainerName') ?? infraName(metadata),
    metadata,
    labels: stringMapAnnotation(spec, 'Labels'),
    annotations: stringMapAnnotation(spec, 'Annotations'),
    createdAt: createdAnnotation(spec),
    hostname: annotation(spec, 'HostName') ?? '',
    namespaceOptions,
    pins: pinsFromSpec(spec),
    hostNetwork: annotation(spec, 'HostNetwork') === 'true',
    privileged: annotation(spec, 'PrivilegedRuntime') === 'true',
    cgroupParent: annotation(spec, 'CgroupParent') ?? '',
    cgroupsPath: spec.linux.cgroupsPath ?? '',
    portMappings: portMappingsFromSpec(spec),
    logDirectory: posix.dirname(annotation(spec, 'LogPath') ?? '/'),
    resolvPath: annotation(spec, 'ResolvPath') ?? '',
    hostnamePath: annotation(spec, 'HostnamePath') ?? '',
    shmPath: annotation(spec, 'ShmPath') ?? '',
    runtimeHandler,
    runtime: ctx.runtimes.get(runtimeHandler),
    spec,
    ...paths,
  };
}

function metadataFromSpec(spec: OciSpec): PodSandboxMetadata {
  const json = (jsonAnnotation(spec, 'Metadata') ?? {}) as Record<string, unknown>;
  const text = (key: string) => {
    const value = json[key];
    if (typeof value !== 'string' || value === '') throw new Failure('Unknown', `sandbox metadata ${key} cannot be empty`);
    return value;
  };
  return {
    name: text('name'),
    namespace: text('namespace'),
    uid: text('uid'),
    attempt: typeof json['attempt'] === 'number' ? json['attempt'] : 0,
  };
}

function namespaceOptionsFromSpec(spec: OciSpec): SandboxFacts['namespaceOptions'] {
  const json = (jsonAnnotation(spec, 'NamespaceOptions') ?? {}) as Record<string, unknown>;
  const number = (key: string) => (typeof json[key] === 'number' ? json[key] : 0);
  return {
    network: number('network'),
    pid: number('pid'),
    ipc: number('ipc'),
    targetId: typeof json['target_id'] === 'string' ? json['target_id'] : '',
  };
}

const KIND_OF: Readonly<Record<string, NamespaceKind>> = { network: 'net', ipc: 'ipc', uts: 'uts' };

function pinsFromSpec(spec: OciSpec): SandboxFacts['pins'] {
  const pins: Partial<Record<NamespaceKind, string>> = {};
  for (const { type, path } of spec.linux.namespaces) {
    const kind = KIND_OF[type];
    if (kind !== undefined && path !== undefined) pins[kind] = path;
  }
  // The host's namespaces are pinned too, but a spec need not name them; all pins of a pod carry one uuid.
  const uts = /^(.*)\/utsns\/([^/]+)$/.exec(pins.uts ?? '');
  if (uts !== null) for (const kind of NAMESPACE_KINDS) pins[kind] ??= `${uts[1]}/${kind}ns/${uts[2]}`;
  return pins;
}

function portMappingsFromSpec(spec: OciSpec): PortMapping[] {
  const json = jsonAnnotation(spec, 'PortMappings');
  if (!Array.isArray(json)) return [];
  return json.map((entry: Record<string, unknown>) => ({
    hostPort: Number(entry['HostPort'] ?? 0),
    containerPort: Number(entry['ContainerPort'] ?? 0),
    protocol: entry['Protocol'] === 'UDP' || entry['Protocol'] === 'SCTP' ? entry['Protocol'] : 'TCP',
    hostIp: typeof entry['HostIP'] === 'string' ? entry['HostIP'] : '',
  }));
}

function cniResultOf(spec: OciSpec): CniResult | undefined {
  const text = annotation(spec, 'CNIResult');
  return text === undefined || text === '' ? undefined : (JSON.parse(text) as CniResult);
}
