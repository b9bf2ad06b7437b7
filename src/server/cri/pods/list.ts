import type { PodContext, Sandbox } from '../../../pods/index.ts';
import {
  type ListPodSandboxRequest,
  type ListPodSandboxResponse,
  PodSandbox,
  type PodSandboxFilter,
  encodeRepeatedEntry,
} from '../../../wire/index.ts';
import { labelsMatch } from '../labels.ts';
import type { Handler } from '../rpc.ts';
import { stateOfSandbox } from './status.ts';

/** The answer is the concatenation of entries that were encoded when the pod last changed. */
export function listPodSandbox(pods: PodContext): Handler<ListPodSandboxRequest, ListPodSandboxResponse> {
  const encoded = new WeakMap<Sandbox, { readonly revision: number; readonly bytes: Buffer }>();
  const entryOf = (sandbox: Sandbox): Buffer => {
    const known = encoded.get(sandbox);
    if (known !== undefined && known.revision === sandbox.revision) return known.bytes;
    const bytes = encodeRepeatedEntry(1, PodSandbox, entry(sandbox));
    encoded.set(sandbox, { revision: sandbox.revision, bytes });
    return bytes;
  };
  return async ({ filter }) => Buffer.concat(select(pods, filter).map(entryOf));
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
