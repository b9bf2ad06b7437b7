import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, textOf, wrap } from '../errors/index.ts';
import { type ContainerId, type HexId, isHexId } from '../ids/index.ts';
import type { OciRuntime } from '../oci/runtime/index.ts';
import { type ContainerMetadata, type OciSpec, decodeSpec } from '../oci/spec/index.ts';
import { annotation, createdAnnotation, jsonAnnotation, stringMapAnnotation } from './annotations.ts';
import { Container, type ContainerFacts, type PodOfContainer } from './container.ts';
import type { ContainerContext } from './context.ts';
import { takeExit } from './exit.ts';
import { initIsAlive } from './liveness.ts';
import { mountsOfSpec } from './mounts.ts';
import { isLive } from './state.ts';
import { type SavedState, decodeStateFile } from './state-file.ts';

/** A container's config.json as the persistent directory has it: what everything is restored from. */
export async function readSavedSpec(directory: string): Promise<OciSpec> {
  return decodeSpec(await readFile(join(directory, 'config.json'), 'utf8'));
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
  ctx.watch(container);
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
  ctx.watch(container);
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
  if (!isHexId(imageId)) throw new Failure('Unknown', `invalid io.kubernetes.cri-o.ImageRef annotation: "${imageId}"`);
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
    mounts: mountsOfSpec(spec),
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
