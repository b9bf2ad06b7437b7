import { posix } from 'node:path';
import { type Nanoseconds, nowNs } from '../clock/index.ts';
import { infraName, podName } from '../containers/index.ts';
import { Failure } from '../errors/index.ts';
import { type SandboxId, newHexId } from '../ids/index.ts';
import type { NamespaceKind } from '../linux/index.ts';
import type { PortMapping } from '../network/index.ts';
import type { OciRuntime } from '../oci/runtime/index.ts';
import {
  NamespaceMode,
  type NamespaceOption,
  type PodSandboxConfig,
  type PodSandboxMetadata,
  Protocol,
  type StringMap,
  filterAnnotations,
} from '../oci/spec/index.ts';
import type { Pins } from './namespaces.ts';
import { type UsernsPlan, type UsernsSettings, namesHostIds, planUserns } from './userns/index.ts';

/** CRI's limit for one label, key and value together [D48]. */
const LABEL_BYTES = 4096;

/** Everything of a pod that follows from the request alone: nothing has been made yet. */
export interface SandboxPlan {
  readonly id: SandboxId;
  readonly name: string;
  readonly infraName: string;
  readonly metadata: PodSandboxMetadata;
  readonly config: PodSandboxConfig;
  readonly createdAt: Nanoseconds;
  readonly labels: StringMap;
  readonly annotations: StringMap;
  readonly hostname: string;
  readonly namespaceOptions: NamespaceOption;
  readonly hostNamespaces: readonly NamespaceKind[];
  /** Where its namespaces will be pinned. */
  readonly pins: Pins;
  /** undefined: it is in the host's user namespace. */
  readonly userns: UsernsPlan | undefined;
  /** Its requests name users and groups by the host's ids [F28]. */
  readonly namesHostIds: boolean;
  readonly hostNetwork: boolean;
  readonly privileged: boolean;
  /** No pause container [D75]. */
  readonly dropInfra: boolean;
  readonly portMappings: readonly PortMapping[];
  readonly logDirectory: string;
  readonly logPath: string;
  readonly runtimeHandler: string;
  readonly runtime: OciRuntime;
}

/** The name a request asks for; fails as CRI-O does on what is missing [D31, D34]. */
export function requestedMetadata(config: PodSandboxConfig | undefined): {
  metadata: PodSandboxMetadata;
  config: PodSandboxConfig;
  name: string;
} {
  const refuse = (why: string) => new Failure('InvalidArgument', `setting sandbox config: ${why}`);
  if (config === undefined) throw refuse('config is nil');
  if (config.metadata === undefined) throw refuse('metadata is nil');
  if (config.metadata.name === '') throw refuse('metadata.Name should not be empty');
  return { metadata: config.metadata, config, name: podName(config.metadata) };
}

export interface PlanSettings {
  readonly nodeName: string;
  readonly logDir: string;
  readonly dropInfraCtr: boolean;
  readonly pins: Pins;
  readonly userns: UsernsSettings;
}

export function planSandbox(request: PodSandboxConfig, runtimeHandler: string, runtime: OciRuntime, settings: PlanSettings): SandboxPlan {
  const { metadata, config, name } = requestedMetadata(request);
  const id = newHexId() as SandboxId;
  const security = config.linux?.securityContext;
  const namespaceOptions = security?.namespaceOptions ?? { network: 0, pid: 0, ipc: 0, targetId: '' };
  const hostNetwork = namespaceOptions.network === NamespaceMode.NODE;
  const hostPid = namespaceOptions.pid === NamespaceMode.NODE;
  const hostIpc = namespaceOptions.ipc === NamespaceMode.NODE;
  const labels = labelsOf(config, metadata);
  const logDirectory = logDirectoryOf(config, id, settings.logDir);
  const { handler } = runtime;
  const annotations = new Map([...handler.defaultAnnotations, ...filterAnnotations(config.annotations, handler.allowedAnnotations)]);
  const userns = planUserns(security, annotations, settings.userns);
  return {
    id,
    name,
    infraName: infraName(metadata),
    metadata,
    config,
    createdAt: nowNs(),
    labels,
    annotations,
    hostname: config.hostname === '' ? (hostNetwork ? settings.nodeName : id.slice(0, 12)) : config.hostname,
    namespaceOptions,
    hostNamespaces: [...(hostNetwork ? (['net'] as const) : []), ...(hostIpc ? (['ipc'] as const) : [])],
    pins: userns === undefined ? { ...settings.pins, user: undefined } : settings.pins,
    userns,
    namesHostIds: namesHostIds(security, annotations, settings.userns),
    hostNetwork,
    privileged: security?.privileged === true || hostNetwork || hostPid || hostIpc,
    dropInfra: settings.dropInfraCtr && namespaceOptions.pid !== NamespaceMode.POD && runtime.signalsDirectly,
    portMappings: portMappingsOf(config),
    logDirectory,
    logPath: posix.join(logDirectory, `${id}.log`),
    runtimeHandler,
    runtime,
  };
}

/** The kubelet's three labels are added where they miss, and `POD` in any case [D33, D49]. */
function labelsOf(config: PodSandboxConfig, metadata: PodSandboxMetadata): StringMap {
  const labels = new Map([
    ['io.kubernetes.container.name', 'POD'],
    ['io.kubernetes.pod.name', metadata.name],
    ['io.kubernetes.pod.namespace', metadata.namespace],
    ['io.kubernetes.pod.uid', metadata.uid],
    ...config.labels,
  ]);
  labels.set('io.kubernetes.container.name', 'POD');
  checkLabels(labels);
  return labels;
}

/** [D48, F122] */
export function checkLabels(labels: StringMap): void {
  for (const [key, value] of labels) {
    if (Buffer.byteLength(key) + Buffer.byteLength(value) <= LABEL_BYTES) continue;
    throw new Failure('InvalidArgument', `label key and value greater than maximum size (${LABEL_BYTES} bytes), key: ${key.slice(0, 10)}`);
  }
}

function logDirectoryOf(config: PodSandboxConfig, id: string, logDir: string): string {
  const directory = config.logDirectory === '' ? posix.join(logDir, id) : config.logDirectory;
  if (!posix.isAbsolute(directory)) {
    throw new Failure('InvalidArgument', `requested logDir for sbuilder ID ${id} is a relative path: ${directory}`);
  }
  return posix.normalize(directory);
}

const PROTOCOLS = new Map<number, PortMapping['protocol']>([
  [Protocol.TCP, 'TCP'],
  [Protocol.UDP, 'UDP'],
  [Protocol.SCTP, 'SCTP'],
]);

/** Mappings without a host port are dropped [D56]. */
function portMappingsOf(config: PodSandboxConfig): PortMapping[] {
  return config.portMappings
    .filter((mapping) => mapping.hostPort > 0)
    .map(({ hostPort, containerPort, protocol, hostIp }) => {
      const known = PROTOCOLS.get(protocol);
      if (known === undefined) throw new Failure('InvalidArgument', `unknown protocol ${protocol} of host port ${hostPort}`);
      return { hostPort, containerPort, protocol: known, hostIp };
    });
}
