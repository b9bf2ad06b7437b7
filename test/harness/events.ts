import { once } from 'node:events';
import type { ClientReadableStream, ServiceError } from '@grpc/grpc-js';
import { type ContainerEventResponse, ContainerEventType } from '../../src/wire/index.ts';
import type { CriClient } from './client.ts';

/** What one subscriber of GetContainerEvents has been told, in order. */
export class Subscriber {
  readonly events: ContainerEventResponse[] = [];
  /** Settles with the end of the stream: an error, or undefined. */
  readonly ended: Promise<ServiceError | undefined>;
  readonly #stream: ClientReadableStream<ContainerEventResponse>;

  constructor(stream: ClientReadableStream<ContainerEventResponse>) {
    this.#stream = stream;
    stream.on('data', (event: ContainerEventResponse) => this.events.push(event));
    this.ended = new Promise((resolve) => {
      stream.once('error', (error: ServiceError) => resolve(error));
      stream.once('end', () => resolve(undefined));
    });
  }

  /** Waits, for half a minute at most, until an event of this kind of this pod or container has come. */
  async until(containerId: string, type: EventName): Promise<ContainerEventResponse> {
    const signal = AbortSignal.timeout(30_000);
    for (;;) {
      const found = this.events.find((event) => event.containerId === containerId && nameOf(event) === type);
      if (found !== undefined) return found;
      await once(this.#stream, 'data', { signal });
    }
  }

  /** The kinds of events of a pod or container, in order. */
  of(containerId: string): EventName[] {
    return this.events.filter((event) => event.containerId === containerId).map(nameOf);
  }

  async leave(): Promise<void> {
    this.#stream.cancel();
    await this.ended;
  }
}

type EventName = 'CREATED' | 'STARTED' | 'STOPPED' | 'DELETED' | '?';

const NAMES = new Map<number, EventName>([
  [ContainerEventType.CONTAINER_CREATED_EVENT, 'CREATED'],
  [ContainerEventType.CONTAINER_STARTED_EVENT, 'STARTED'],
  [ContainerEventType.CONTAINER_STOPPED_EVENT, 'STOPPED'],
  [ContainerEventType.CONTAINER_DELETED_EVENT, 'DELETED'],
]);

export function nameOf(event: ContainerEventResponse): EventName {
  return NAMES.get(event.containerEventType) ?? '?';
}

/** Subscribed when it returns: the daemon has answered a call that was sent after it. */
export async function subscribe(client: CriClient): Promise<Subscriber> {
  const subscriber = new Subscriber(client.GetContainerEvents());
  await client.Version();
  return subscriber;
}
