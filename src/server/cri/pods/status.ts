import { wrap } from '../../../errors/index.ts';
import { encodeSpec } from '../../../oci/spec/index.ts';
import type { PodContext, Sandbox } from '../../../pods/index.ts';
import {
  type MessageInput,
  type PodSandboxStatus,
  PodSandboxState,
  type PodSandboxStatusRequest,
  type PodSandboxStatusResponse,
} from '../../../wire/index.ts';
import type { PodEvents } from '../events/pod-events.ts';
import type { Handler } from '../rpc.ts';

/** With `enable_pod_events` also the time of this view and all of the pod's containers [D114]. */
export function podSandboxStatus(
  pods: PodContext,
  events: PodEvents | undefined,
): Handler<PodSandboxStatusRequest, PodSandboxStatusResponse> {
  return async ({ podSandboxId, verbose }) => {
    const sandbox = find(pods, podSandboxId);
    return {
      status: statusOfSandbox(sandbox),
      info: verbose ? new Map([['info', verboseInfo(sandbox)]]) : new Map(),
      ...(events === undefined ? {} : { timestamp: events.timestamp(), containersStatuses: events.containersOf(sandbox) }),
    };
  };
}

/** Any failure of the look-up is NotFound [D110]. */
function find(pods: PodContext, id: string): Sandbox {
  try {
    return pods.registry.find(id);
  } catch (error) {
    throw wrap(`could not find pod "${id}"`, error, 'NotFound');
  }
}

/** [D111–D113]; unlike CRI-O `runtime_handler` is filled where the request named one. */
export function statusOfSandbox(sandbox: Sandbox): MessageInput<PodSandboxStatus> {
  const { facts, ips } = sandbox;
  return {
    id: sandbox.id,
    metadata: facts.metadata,
    state: stateOfSandbox(sandbox),
    createdAt: facts.createdAt,
    network: { ip: ips[0] ?? '', additionalIps: ips.slice(1).map((ip) => ({ ip })) },
    linux: { namespaces: { options: facts.namespaceOptions } },
    labels: facts.labels,
    annotations: facts.annotations,
    runtimeHandler: facts.runtimeHandler,
  };
}

export function stateOfSandbox(sandbox: Sandbox): number {
  return sandbox.stopped ? PodSandboxState.SANDBOX_NOTREADY : PodSandboxState.SANDBOX_READY;
}

/** [D115] The spec as it is on disk, and the pod's addresses, which are known only after it was written [D82]. */
function verboseInfo(sandbox: Sandbox): string {
  const { spec: saved } = sandbox.facts;
  const ips = Object.fromEntries(sandbox.ips.map((ip, n) => [`io.kubernetes.cri-o.IP.${n}`, ip]));
  const spec = encodeSpec({ ...saved, annotations: { ...saved.annotations, ...ips } });
  const { infra } = sandbox;
  if (infra === undefined) return `{"runtimeSpec":${spec}}`;
  return `{"image":${JSON.stringify(infra.facts.image.requested)},"pid":${infra.init?.pid ?? 0},"runtimeSpec":${spec}}`;
}
