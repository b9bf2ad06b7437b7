import type { Container, ContainerContext } from '../../../containers/index.ts';
import {
  type ContainerFilter,
  type ContainerState as WireState,
  Container as WireContainer,
  ContainerState,
  type ListContainersRequest,
  type ListContainersResponse,
  type MessageInput,
  type StreamContainersRequest,
  type StreamContainersResponse,
} from '../../../wire/index.ts';
import { Entries } from '../entries.ts';
import { labelsMatch } from '../labels.ts';
import type { Handler, StreamHandler } from '../rpc.ts';

export function listContainers(
  containers: ContainerContext,
  entries: ContainerEntries,
): Handler<ListContainersRequest, ListContainersResponse> {
  return async ({ filter }) => entries.all(select(containers, filter));
}

/** The same list in messages that no number of containers makes too large [D118]. */
export function streamContainers(
  containers: ContainerContext,
  entries: ContainerEntries,
): StreamHandler<StreamContainersRequest, StreamContainersResponse> {
  return async function* ({ filter }) {
    yield* entries.inMessages(select(containers, filter));
  };
}

export type ContainerEntries = Entries<Container, WireContainer>;

export function containerEntries(): ContainerEntries {
  return new Entries<Container, WireContainer>(WireContainer, entry);
}

/** [D164] Ids by unique prefix; no match is an empty list. */
function select(containers: ContainerContext, filter: ContainerFilter | undefined): Container[] {
  let found = containers.registry.list();
  if (filter === undefined) return found;
  const { id, podSandboxId, state, labelSelector } = filter;
  if (id !== '') {
    found = found.filter((container) => container.id.startsWith(id));
    if (found.length > 1) return [];
  }
  if (podSandboxId !== '') found = found.filter((container) => container.facts.pod.id.startsWith(podSandboxId));
  if (id === '' && podSandboxId !== '' && new Set(found.map((container) => container.facts.pod.id)).size > 1) return [];
  return found.filter(
    (container) => (state === undefined || wireState(container) === state.state) && labelsMatch(container.facts.labels, labelSelector),
  );
}

/** [D160]: the image as the request named it. */
function entry(container: Container): MessageInput<WireContainer> {
  const { pod, metadata, image, createdAt, labels, annotations } = container.facts;
  return {
    id: container.id,
    podSandboxId: pod.id,
    metadata,
    image: { image: image.requested },
    imageRef: imageRef(container),
    imageId: image.id,
    state: wireState(container),
    createdAt,
    labels,
    annotations,
  };
}

/** The first repo digest, else the id [D160]. */
export function imageRef(container: Container): string {
  const { image } = container.facts;
  return image.repoDigests[0] ?? image.id;
}

/** [D157] */
export function wireState(container: Container): WireState {
  switch (container.state.status) {
    case 'created':
      return ContainerState.CONTAINER_CREATED;
    case 'running':
    case 'paused':
      return ContainerState.CONTAINER_RUNNING;
    case 'stopped':
      return ContainerState.CONTAINER_EXITED;
    case 'unknown':
      return ContainerState.CONTAINER_UNKNOWN;
    default:
      return container.state satisfies never;
  }
}
