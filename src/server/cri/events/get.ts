import type { ContainerEventResponse, GetEventsRequest } from '../../../wire/index.ts';
import type { StreamHandler } from '../rpc.ts';
import type { PodEvents } from './pod-events.ts';

/** Without `enable_pod_events` the stream ends at once [D219]. */
export function getContainerEvents(events: PodEvents | undefined): StreamHandler<GetEventsRequest, ContainerEventResponse> {
  return async function* (_, rpc) {
    if (events !== undefined) yield* events.feed.subscribe(rpc.signal);
  };
}
