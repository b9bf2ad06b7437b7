import { type Nanoseconds, nowNs } from '../../../clock/index.ts';
import type { Container, ContainerRegistry } from '../../../containers/index.ts';
import type { LifeEvent, Sandbox, SandboxRegistry } from '../../../pods/index.ts';
import {
  ContainerEventResponse,
  ContainerEventType,
  type ContainerStatus,
  type MessageInput,
  type PodSandboxStatus,
} from '../../../wire/index.ts';
import { statusOfContainer } from '../containers/status.ts';
import { statusOfSandbox } from '../pods/status.ts';
import { EventFeed } from './feed.ts';

const TYPES = {
  created: ContainerEventType.CONTAINER_CREATED_EVENT,
  started: ContainerEventType.CONTAINER_STARTED_EVENT,
  stopped: ContainerEventType.CONTAINER_STOPPED_EVENT,
  deleted: ContainerEventType.CONTAINER_DELETED_EVENT,
} as const satisfies Record<LifeEvent['type'], number>;

/**
 * What subscribers of GetContainerEvents are told, and the clock that their events and PodSandboxStatus share: a kubelet keeps
 * whichever of two views of a pod has the later time, so no two may have the same, and none may be older than what it shows.
 */
export class PodEvents {
  readonly feed = new EventFeed();
  readonly #pods: SandboxRegistry;
  readonly #containers: ContainerRegistry;
  #last: Nanoseconds = 0n;

  constructor(pods: SandboxRegistry, containers: ContainerRegistry) {
    this.#pods = pods;
    this.#containers = containers;
  }

  /** Shows pod and containers as they are at this moment, so call it when it happens [D220]. */
  tell(event: LifeEvent): void {
    const { type, sandbox, container } = event;
    this.feed.publish(
      ContainerEventResponse.encode({
        containerId: container?.id ?? sandbox.id,
        containerEventType: TYPES[type],
        createdAt: this.timestamp(),
        podSandboxStatus: this.#podOf(event),
        containersStatuses: this.containersOf(sandbox),
      }),
    );
  }

  /** Nanoseconds since the epoch, always later than the answer before. */
  timestamp(): Nanoseconds {
    const now = nowNs();
    this.#last = now > this.#last ? now : this.#last + 1n;
    return this.#last;
  }

  /** Of all containers of the pod, also of those that stand in another sandbox of it [D114, D220]. */
  containersOf(sandbox: Sandbox): MessageInput<ContainerStatus>[] {
    const ids = new Set<string>(this.#sandboxesOf(sandbox).map(({ id }) => id));
    return this.#containers
      .list()
      .filter((container: Container) => ids.has(container.facts.pod.id))
      .map(statusOfContainer);
  }

  /** At the removal of one of several sandboxes of a pod: the newest that is left. A kubelet would else take the whole pod for removed. */
  #podOf({ type, sandbox, container }: LifeEvent): MessageInput<PodSandboxStatus> {
    const left = type === 'deleted' && container === undefined ? this.#sandboxesOf(sandbox)[0] : undefined;
    return statusOfSandbox(left ?? sandbox);
  }

  /** Newest first. */
  #sandboxesOf({ facts }: Sandbox): Sandbox[] {
    const { name, namespace, uid } = facts.metadata;
    return this.#pods
      .list()
      .filter(({ facts: { metadata: other } }) => other.uid === uid && other.name === name && other.namespace === namespace);
  }
}
