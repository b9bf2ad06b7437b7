import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../errors/index.ts';
import { type ContainerId, type HexId, isHexId } from '../ids/index.ts';
import type { OciRuntime } from '../oci/runtime/index.ts';
import { type ContainerMetadata, type OciSpec, decodeSpec } from '../oci/spec/index.ts';
import { annotation, createdAnnotation, jsonAnnotation, stringMapAnnotation } from './annotations.ts';
import { Container, type ContainerFacts, type PodOfContainer } from './container.ts';
import type { ContainerContext } from './context.ts';
import { takeExitAtStart } from './exit.ts';
import { initIsAlive } from './liveness.ts';
import { mountsOfSpec } from './mounts.ts';
import { isLive } from './state.ts';
import { savedState } from './saved-state.ts';

/**
 * A container's config.json as the persistent directory has it: what everything is restored from. Where that cannot be read, the
 * runtime's copy of the same bytes takes its place.
 */
export function readSavedSpec({ directory, runDirectory }: Omit<ContainerRecordPaths, 'id'>): OciSpec {
  const [kept, copy] = [directory, runDirectory].map((path) => join(path, 'config.json')) as [string, string];
  try {
    return decodeSpec(readFileSync(kept, 'utf8'));
  } catch (error) {
    if (!existsSync(copy)) throw error;
    const text = readFileSync(copy, 'utf8');
    const spec = decodeSpec(text);
    writeFileSync(kept, text, { mode: 0o644 });
    return spec;
  }
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

export interface RestoredContainer {
  readonly container: Container;
  /** What is still to be done about its end, if it ended while no daemon ran. */
  readonly afterwards: (() => Promise<void>) | undefined;
}

/**
 * Rebuilds a container from its config.json and state.json [D185] and finds out what became of it meanwhile:
 * one whose init is gone is stopped. The registry is the caller's.
 */
export async function restoreContainer(
  ctx: ContainerContext,
  record: ContainerRecordPaths,
  spec: OciSpec,
  pod: PodOfContainer,
  runtime: OciRuntime,
): Promise<RestoredContainer> {
  return await refreshed(ctx, new Container(factsFromSpec(record, spec, pod, runtime), await savedState(ctx, record, spec, runtime)));
}

/** A pod's pause container: its spec is the pod's, so what a container's own annotations would say comes from the pod. */
export async function restoreInfraContainer(
  ctx: ContainerContext,
  record: ContainerRecordPaths,
  spec: OciSpec,
  pod: PodOfContainer,
  runtime: OciRuntime,
): Promise<RestoredContainer> {
  const image = annotation(spec, 'ImageName') ?? '';
  const common = commonFacts(record, spec, pod, runtime);
  const facts = {
    ...common,
    name: annotation(spec, 'ContainerName') ?? '',
    metadata: { name: 'POD', attempt: 0 },
    image: { requested: image, id: record.id, someName: image, repoDigests: [] },
    mounts: [],
  };
  return await refreshed(ctx, new Container(facts, await savedState(ctx, record, spec, runtime)));
}

/** What happened while nobody looked: started (the daemon died before it could say so) or ended. */
async function refreshed(ctx: ContainerContext, container: Container): Promise<RestoredContainer> {
  if (!isLive(container.state)) return { container, afterwards: undefined };
  if (!initIsAlive(container)) return { container, afterwards: takeExitAtStart(ctx, container) };
  if (container.state.status === 'created' && (await container.facts.runtime.view(container.id))?.started === true)
    await container.become({ status: 'running', startedAt: container.facts.createdAt });
  ctx.watch(container);
  return { container, afterwards: undefined };
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
