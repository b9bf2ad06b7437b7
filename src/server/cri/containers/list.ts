import type { Container, ContainerContext } from '../../../containers/index.ts';
import {
  type ContainerFilter,
  type ContainerState as WireState,
  Container as WireContainer,
  ContainerState,
  type ListContainersRequest,
  type ListContainersResponse,
  type MessageInput,
  encodeRepeatedEntry,
} from '../../../wire/index.ts';
import { labelsMatch } from '../labels.ts';
import type { Handler } from '../rpc.ts';

/** The answer is the concatenation of entries that were encoded when the container last changed. */
export function listContainers(containers: ContainerContext): Handler<ListContainersRequest, ListContainersResponse> {
  const encoded = new WeakMap<Container, { readonly revision: number; readonly bytes: Buffer }>();
  const entryOf = (container: Container): Buffer => {
    const known = encoded.get(container);
    if (known !== undefined && known.revision === container.revision) return known.bytes;
    const bytes = encodeRepeatedEntry(1, WireContainer, entry(container));
    encoded.set(container, { revision: container.revision, bytes });
    return bytes;
  };
  return async ({ filter }) => Buffer.concat(select(containers, filter).map(entryOf));
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
