import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Nanoseconds, fromRfc3339 } from '../clock/index.ts';
import { Failure, textOf, wrap } from '../errors/index.ts';
import { type ContainerId, type HexId, isHexId } from '../ids/index.ts';
import type { OciRuntime } from '../oci/runtime/index.ts';
import { type ContainerMetadata, type Mount, type OciSpec, type StringMap, decodeSpec } from '../oci/spec/index.ts';
import { Container, type ContainerFacts, type PodOfContainer } from './container.ts';
import type { ContainerContext } from './context.ts';
import { takeExit } from './exit.ts';
import { initIsAlive } from './liveness.ts';
import { isLive } from './state.ts';
import { type SavedState, decodeStateFile } from './state-file.ts';

const PREFIX = 'io.kubernetes.cri-o.';

/** A container's config.json as the persistent directory has it: what everything is restored from. */
export async function readSavedSpec(directory: string): Promise<OciSpec> {
  return decodeSpec(await readFile(join(directory, 'config.json'), 'utf8'));
}

/** The value of `io.kubernetes.cri-o.<name>`. */
export function annotation(spec: OciSpec, name: string): string | undefined {
  return Object.hasOwn(spec.annotations, PREFIX + name) ? spec.annotations[PREFIX + name] : undefined;
}

/** JSON of an annotation, or CRI-O's failure text [D179, P75]. `null` counts as absent. */
export function jsonAnnotation(spec: OciSpec, name: string): unknown {
  try {
    return JSON.parse(annotation(spec, name) ?? '') as unknown;
  } catch (error) {
    throw new Failure('Unknown', `error unmarshalling ${PREFIX}${name} annotation: ${textOf(error)}`, { cause: error });
  }
}

export function stringMapAnnotation(spec: OciSpec, name: string): StringMap {
  const json = jsonAnnotation(spec, name);
  if (json === null) return new Map();
  if (typeof json !== 'object' || Array.isArray(json))
    throw new Failure('Unknown', `error unmarshalling ${PREFIX}${name} annotation: not an object`);
  return new Map(Object.entries(json).map(([key, value]) => [key, String(value)]));
}

export function createdAnnotation(spec: OciSpec): Nanoseconds {
  const text = annotation(spec, 'Created') ?? '';
  const created = fromRfc3339(text);
  if (created === undefined) throw new Failure('Unknown', `parsing created timestamp annotation: cannot parse "${text}" as RFC 3339`);
  return created;
}

export interface ContainerRecordPaths {
  readonly id: HexId;
  readonly directory: string;
  readonly runDirectory: string;
}

/** Who made it, if not CRI-O: another manager's container is skipped, not touched [D184]. */
export function foreignManager(spec: OciSpec): string | undefined {
  const manager = spec.annotations['io.container.manager'];
  return manager === undefined || manager === 'cri-o' ? undefined : manager;
}

/**
 * Rebuilds a container from its config.json and state.json [D185] and finds out what became of it meanwhile:
 * one whose init is gone gets its exit taken. Adds it to the registry.
 */
export async function restoreContainer(
  ctx: ContainerContext,
  record: ContainerRecordPaths,
  spec: OciSpec,
  pod: PodOfContainer,
  runtime: OciRuntime,
): Promise<Container> {
  const container = new Container(factsFromSpec(record, spec, pod, runtime), await readSavedState(record));
  ctx.registry.add(container);
  await refresh(ctx, container);
  return container;
}

/** A pod's pause container: its spec is the pod's, so what a container's own annotations would say comes from the pod. */
export async function restoreInfraContainer(
  ctx: ContainerContext,
  record: ContainerRecordPaths,
  spec: OciSpec,
  pod: PodOfContainer,
  runtime: OciRuntime,
): Promise<Container> {
  const image = annotation(spec, 'ImageName') ?? '';
  const common = commonFacts(record, spec, pod, runtime);
  const facts = {
    ...common,
    name: annotation(spec, 'ContainerName') ?? '',
    metadata: { name: 'POD', attempt: 0 },
    image: { requested: image, id: record.id, someName: image, repoDigests: [] },
    mounts: [],
  };
  const container = new Container(facts, await readSavedState(record));
  ctx.registry.addInfra(container);
  await refresh(ctx, container);
  return container;
}

async function readSavedState(record: ContainerRecordPaths): Promise<SavedState> {
  try {
    return decodeStateFile(await readFile(join(record.directory, 'state.json'), 'utf8'), record.id);
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw wrap(`error reading container state from disk "${record.id}"`, error);
  }
}

/** What happened while nobody looked: started (the daemon died before it could say so) or ended. */
export async function refresh(ctx: ContainerContext, container: Container): Promise<void> {
  if (!isLive(container.state)) return;
  if (!initIsAlive(container)) {
    await takeExit(ctx, container);
    return;
  }
  const { status } = await container.facts.runtime.state(container.id).catch((error: unknown) => {
    ctx.log.warn(`Asking the runtime for the state of container ${container.id} failed, taking the saved one: ${textOf(error)}`);
    return container.state;
  });
  if (status === container.state.status) return;
  const startedAt = 'startedAt' in container.state ? (container.state.startedAt ?? container.facts.createdAt) : container.facts.createdAt;
  if (status === 'running' || status === 'paused') await container.become({ status, startedAt });
}

function factsFromSpec(record: ContainerRecordPaths, spec: OciSpec, pod: PodOfContainer, runtime: OciRuntime): ContainerFacts {
  const imageId = annotation(spec, 'ImageRef') ?? '';
  if (!isHexId(imageId)) throw new Failure('Unknown', `invalid ${PREFIX}ImageRef annotation: "${imageId}"`);
  const digests = annotation(spec, 'ImageRepoDigests') ?? '';
  return {
    ...commonFacts(record, spec, pod, runtime),
    name: annotation(spec, 'Name') ?? '',
    metadata: metadataFromSpec(spec),
    image: {
      requested: annotation(spec, 'Image') ?? '',
      id: imageId,
      someName: annotation(spec, 'ImageName') ?? '',
      repoDigests: digests === '' ? [] : digests.split(','),
    },
    mounts: mountsFromSpec(spec),
  };
}

function commonFacts(record: ContainerRecordPaths, spec: OciSpec, pod: PodOfContainer, runtime: OciRuntime) {
  return {
    id: record.id as string as ContainerId,
    pod,
    labels: stringMapAnnotation(spec, 'Labels'),
    annotations: stringMapAnnotation(spec, 'Annotations'),
    createdAt: createdAnnotation(spec),
    logPath: annotation(spec, 'LogPath') ?? '',
    tty: annotation(spec, 'TTY') === 'true',
    stdin: annotation(spec, 'Stdin') === 'true',
    stdinOnce: annotation(spec, 'StdinOnce') === 'true',
    privileged: spec.linux.resources?.devices?.some((rule) => rule.allow && rule.type === undefined && rule.major === undefined) === true,
    stopSignal: spec.annotations['org.opencontainers.image.stopSignal'] ?? '',
    runtime,
    spec,
    directory: record.directory,
    runDirectory: record.runDirectory,
    stateDirectory: record.directory,
  };
}

function metadataFromSpec(spec: OciSpec): ContainerMetadata {
  const json = (jsonAnnotation(spec, 'Metadata') ?? {}) as { name?: unknown; attempt?: unknown };
  return { name: typeof json.name === 'string' ? json.name : '', attempt: typeof json.attempt === 'number' ? json.attempt : 0 };
}

/** The CRI mounts that Status lists, from the Volumes annotation [P90]. */
function mountsFromSpec(spec: OciSpec): Mount[] {
  const json = annotation(spec, 'Volumes') === undefined ? [] : jsonAnnotation(spec, 'Volumes');
  if (!Array.isArray(json)) return [];
  return json.map((entry: Record<string, unknown>) => ({
    containerPath: textOr(entry['container_path']),
    hostPath: textOr(entry['host_path']),
    readonly: entry['readonly'] === true,
    recursiveReadOnly: entry['recursive_read_only'] === true,
    propagation: typeof entry['propagation'] === 'number' ? entry['propagation'] : 0,
    selinuxRelabel: entry['selinux_relabel'] === true,
    uidMappings: [],
    gidMappings: [],
    imageSubPath: '',
    image: imageOfVolume(entry['image']),
  }));
}

function textOr(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function imageOfVolume(image: unknown): Mount['image'] {
  if (image === null || typeof image !== 'object') return undefined;
  const name = (image as { image?: unknown }).image;
  return { image: typeof name === 'string' ? name : '', annotations: new Map(), userSpecifiedImage: '', runtimeHandler: '', imageRef: '' };
}
