/** From a pod's manifest to the requests that a kubelet would send. Pure: what has to be looked up is passed in. */
import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import {
  type ContainerConfig,
  type MessageInput,
  MountPropagation,
  type Mount,
  type PodSandboxConfig,
  Protocol,
} from '../../wire/index.ts';
import { type Resolver, dnsOf } from './dns.ts';
import { type PodFacts, environmentOf, expand } from './env.ts';
import { resourcesOf } from './resources.ts';
import type { Pod, PodContainer } from './schema.ts';
import { containerSecurity, sandboxSecurity } from './security.ts';

const LOG_ROOT = '/var/log/pods';
const MAX_HOST_NAME = 63;

/** Host paths of the mounts of one container, found or made before it is created: one for each of its volumeMounts. */
export type MountSources = readonly string[];

export interface NodeFacts {
  readonly resolver: Resolver;
  readonly memoryBytes: bigint;
}

/** The sandbox's configuration, with the labels by which kubelet, crictl and we find pods again. */
export function sandboxConfig(pod: Pod, uid: string, node: NodeFacts): MessageInput<PodSandboxConfig> {
  const { metadata, spec } = pod;
  const linux = {
    securityContext: sandboxSecurity(pod),
    sysctls: new Map((spec.securityContext?.sysctls ?? []).map(({ name, value }) => [name.replaceAll('/', '.'), value])),
  };
  return {
    metadata: { name: metadata.name, namespace: metadata.namespace, uid, attempt: 0 },
    // On the host's network the host's name is kept.
    hostname: spec.hostNetwork ? '' : hostNameOf(pod),
    logDirectory: `${LOG_ROOT}/${metadata.namespace}_${metadata.name}_${uid}`,
    dnsConfig: dnsOf(pod, node.resolver),
    portMappings: [...spec.initContainers, ...spec.containers].flatMap((container) =>
      container.ports.map((port) => ({
        containerPort: port.containerPort,
        hostPort: port.hostPort ?? 0,
        hostIp: port.hostIP ?? '',
        protocol: Protocol[port.protocol],
      })),
    ),
    labels: new Map([...metadata.labels, ...podLabels(pod, uid)]),
    annotations: new Map([...metadata.annotations, ['kubernetes.io/config.source', 'file']]),
    linux,
  };
}

function hostNameOf({ metadata, spec }: Pod): string {
  // A name that is too long is cut; what then stands at its end must not be a hyphen or dot.
  return (spec.hostname ?? metadata.name).slice(0, MAX_HOST_NAME).replace(/[-.]+$/, '');
}

function podLabels({ metadata }: Pod, uid: string): [string, string][] {
  return [
    ['io.kubernetes.pod.name', metadata.name],
    ['io.kubernetes.pod.namespace', metadata.namespace],
    ['io.kubernetes.pod.uid', uid],
  ];
}

/** One container's configuration; `imageRef` is what ImageStatus calls its image. */
export function containerConfig(
  pod: Pod,
  container: PodContainer,
  facts: PodFacts,
  node: NodeFacts,
  imageRef: string,
  sources: MountSources,
): MessageInput<ContainerConfig> {
  const env = environmentOf(pod, container, facts);
  return {
    metadata: { name: container.name, attempt: 0 },
    image: { image: imageRef, userSpecifiedImage: container.image, runtimeHandler: pod.spec.runtimeClassName },
    command: container.command.map((word) => expand(word, env)),
    args: container.args.map((word) => expand(word, env)),
    workingDir: container.workingDir,
    envs: [...env].map(([key, value]) => ({ key, value: Buffer.from(value) })),
    mounts: mountsOf(container, sources),
    labels: new Map([['io.kubernetes.container.name', container.name], ...podLabels(pod, facts.uid)]),
    annotations: annotationsOf(pod, container),
    logPath: `${container.name}/0.log`,
    stdin: container.stdin,
    stdinOnce: container.stdinOnce,
    tty: container.tty,
    linux: { resources: resourcesOf(pod, container, node.memoryBytes), securityContext: containerSecurity(pod, container) },
  };
}

const PROPAGATION = {
  None: MountPropagation.PROPAGATION_PRIVATE,
  HostToContainer: MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
  Bidirectional: MountPropagation.PROPAGATION_BIDIRECTIONAL,
} as const;

function mountsOf(container: PodContainer, sources: MountSources): MessageInput<Mount>[] {
  return container.volumeMounts.map((mount, index) => ({
    containerPath: posix.resolve(mount.mountPath),
    hostPath: sources[index] ?? '',
    readonly: mount.readOnly,
    // IfPossible asks for what not every runtime has; a plain read-only mount is what it then means.
    recursiveReadOnly: mount.recursiveReadOnly === 'Enabled',
    propagation: PROPAGATION[mount.mountPropagation],
  }));
}

function annotationsOf({ spec }: Pod, container: PodContainer): ReadonlyMap<string, string> {
  return new Map([
    ['io.kubernetes.container.hash', hashOf(container)],
    ['io.kubernetes.container.restartCount', '0'],
    ['io.kubernetes.container.terminationMessagePath', '/dev/termination-log'],
    ['io.kubernetes.container.terminationMessagePolicy', 'File'],
    ['io.kubernetes.pod.terminationGracePeriod', String(spec.terminationGracePeriodSeconds)],
    ...(container.ports.length === 0 ? [] : [['io.kubernetes.container.ports', portsJson(container)] as const]),
  ]);
}

/** Tells two versions of a container apart; 32 bits as the kubelet's, of another function. */
function hashOf(container: PodContainer): string {
  const text = JSON.stringify(container, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

function portsJson(container: PodContainer): string {
  return JSON.stringify(
    container.ports.map(({ name, hostPort, containerPort, protocol, hostIP }) => ({ name, hostPort, containerPort, protocol, hostIP })),
  );
}

/** `latest`, said or meant, is pulled each time; anything else only where it is missing. */
export function pullPolicyOf(container: PodContainer): 'Always' | 'IfNotPresent' | 'Never' {
  if (container.imagePullPolicy !== undefined) return container.imagePullPolicy;
  const lastPart = container.image.slice(container.image.lastIndexOf('/') + 1);
  return lastPart.includes('@') || (lastPart.includes(':') && !lastPart.endsWith(':latest')) ? 'IfNotPresent' : 'Always';
}
