import type { PodContext, Sandbox } from '../../../pods/index.ts';
import {
  type ListPodSandboxRequest,
  type ListPodSandboxResponse,
  PodSandbox,
  type PodSandboxFilter,
  type StreamPodSandboxesRequest,
  type StreamPodSandboxesResponse,
} from '../../../wire/index.ts';
import { Entries } from '../entries.ts';
import { labelsMatch } from '../labels.ts';
import type { Handler, StreamHandler } from '../rpc.ts';
import { stateOfSandbox } from './status.ts';

export function listPodSandbox(pods: PodContext, entries: PodEntries): Handler<ListPodSandboxRequest, ListPodSandboxResponse> {
  return async ({ filter }) => entries.all(select(pods, filter));
}

/** The same list in messages that no number of pods makes too large [D118]. */
export function streamPodSandboxes(
  pods: PodContext,
  entries: PodEntries,
): StreamHandler<StreamPodSandboxesRequest, StreamPodSandboxesResponse> {
  return async function* ({ filter }) {
    yield* entries.inMessages(select(pods, filter));
  };
}

export type PodEntries = Entries<Sandbox, PodSandbox>;

export function podEntries(): PodEntries {
  return new Entries<Sandbox, PodSandbox>(PodSandbox, entry);
}

/** [D116, D117] */
function select(pods: PodContext, filter: PodSandboxFilter | undefined): Sandbox[] {
  if (filter === undefined) return pods.registry.list();
  const { state, labelSelector } = filter;
  return byId(pods, filter.id).filter(
    (sandbox) => (state === undefined || stateOfSandbox(sandbox) === state.state) && labelsMatch(sandbox.facts.labels, labelSelector),
  );
}

function byId(pods: PodContext, id: string): Sandbox[] {
  if (id === '') return pods.registry.list();
  const matches = pods.registry.list().filter((sandbox) => sandbox.id.startsWith(id));
  return matches.length === 1 ? matches : [];
}

function entry(sandbox: Sandbox) {
  const { metadata, createdAt, labels, annotations, runtimeHandler } = sandbox.facts;
  return { id: sandbox.id, metadata, state: stateOfSandbox(sandbox), createdAt, labels, annotations, runtimeHandler };
}
