import type { ContainerSpecInput, SandboxSpecInput } from './input.ts';
import { oldAnnotationKey } from './annotation-keys.ts';
import { mapJson, metadataJson, namespaceOptionsJson, portMappingsJson, resourcesJson } from './encode.ts';
import { stringifyExactJson } from '../../files/index.ts';
import { toRecord } from './resources.ts';
import { NamespaceMode } from './request.ts';
import { stopSignalName } from './signals.ts';

const P = 'io.kubernetes.cri-o.';
const MANAGER = ['io.container.manager', 'cri-o'] as const;
const STOP_SIGNAL = 'org.opencontainers.image.stopSignal';
const TRACE_SYSCALL = 'io.containers.trace-syscall';

/** `annotations` of the sandbox's spec [F116, P47–P74]; our own keys are written last, so that no pod annotation replaces one. */
export function sandboxAnnotations(input: SandboxSpecInput): Record<string, string> {
  const { config } = input;
  const flag = (value: boolean) => (value ? 'true' : 'false');
  const security = config.linux?.securityContext;
  const all = new Map([...input.annotations, ...input.labels]);
  const own: readonly (readonly [string, string])[] = [
    [`${P}Metadata`, metadataJson(config.metadata)],
    [`${P}Labels`, mapJson(input.labels)],
    [`${P}Annotations`, mapJson(input.annotations)],
    [`${P}LogPath`, input.logPath],
    [`${P}Name`, input.name],
    [`${P}SandboxName`, input.name],
    [`${P}Namespace`, config.metadata?.namespace ?? ''],
    [`${P}ContainerType`, 'sandbox'],
    [`${P}SandboxID`, input.id],
    [`${P}ContainerID`, input.id],
    [`${P}ContainerName`, input.infraName],
    [`${P}Image`, input.pauseImage],
    [`${P}ImageName`, input.pauseImage],
    [`${P}ShmPath`, input.shmPath],
    [`${P}PrivilegedRuntime`, flag(input.privileged)],
    [`${P}RuntimeHandler`, input.runtimeHandler],
    [`${P}ResolvPath`, input.resolvPath],
    [`${P}HostName`, input.hostname],
    [`${P}HostnamePath`, input.hostnamePath],
    [`${P}NamespaceOptions`, namespaceOptionsJson(security?.namespaceOptions)],
    [`${P}KubeName`, config.metadata?.name ?? ''],
    [`${P}HostNetwork`, flag(security?.namespaceOptions?.network === NamespaceMode.NODE)],
    [`${P}PortMappings`, portMappingsJson(config.portMappings)],
    [`${P}CgroupParent`, input.cgroupParent],
    [`${P}Created`, input.created],
    [`${P}SeccompProfilePath`, input.seccomp.reference],
    [`${P}MountPoint`, input.rootfs],
    ['pod-linux-overhead.crio.io', resourcesJson(config.linux?.overhead)],
    ['pod-linux-resources.crio.io', resourcesJson(config.linux?.resources)],
    MANAGER,
    ...(input.cniResult === undefined ? [] : [[`${P}CNIResult`, input.cniResult] as const]),
    ...(input.spoofed ? [['spoofed.crio.io', 'true'] as const] : []),
    ...(input.pause.stopSignal === '' ? [] : [[STOP_SIGNAL, input.pause.stopSignal] as const]),
  ];
  setOwn(all, own, input.settings.oldAnnotationKeys);
  return toRecord(all);
}

/** `annotations` of a container's spec [F114–F119, P76–P98]; our own keys are written last. */
export function containerAnnotations(input: ContainerSpecInput): Record<string, string> {
  const { config, sandbox, image } = input;
  const flag = (value: boolean) => (value ? 'true' : 'false');
  const all = new Map([...sandbox.annotations, ...config.annotations, ...config.labels]);
  const traced = sandbox.annotations.get(`${TRACE_SYSCALL}/${config.metadata?.name ?? ''}`);
  if (traced !== undefined) all.set(TRACE_SYSCALL, traced);
  const stopSignal = stopSignalName(config.stopSignal) ?? image.stopSignal;
  const own: readonly (readonly [string, string])[] = [
    [`${P}Image`, config.image?.image ?? ''],
    [`${P}ImageName`, image.someName],
    [`${P}ImageRef`, image.id],
    ...(image.repoDigests.length === 0 ? [] : [[`${P}ImageRepoDigests`, image.repoDigests.join(',')] as const]),
    [`${P}Name`, input.name],
    [`${P}ContainerID`, input.id],
    [`${P}SandboxID`, sandbox.id],
    [`${P}SandboxName`, sandbox.name],
    [`${P}ContainerType`, 'container'],
    [`${P}LogPath`, input.logPath],
    [`${P}TTY`, flag(config.tty)],
    [`${P}Stdin`, flag(config.stdin)],
    [`${P}StdinOnce`, flag(config.stdinOnce)],
    [`${P}ResolvPath`, sandbox.resolvPath],
    [`${P}MountPoint`, input.rootfs],
    [`${P}SeccompProfilePath`, input.seccomp.reference],
    [`${P}Created`, input.created],
    [`${P}Metadata`, metadataJson(config.metadata)],
    [`${P}Labels`, mapJson(config.labels)],
    [`${P}Annotations`, mapJson(config.annotations)],
    [`${P}Volumes`, stringifyExactJson(input.mounts.volumes)],
    ['platform-runtime-path.crio.io', input.platformRuntimePath],
    MANAGER,
    ...sandbox.ips.map((ip, n) => [`${P}IP.${n}`, ip] as const),
    ...(input.settings.systemdCgroups ? systemdProperties(input) : []),
    ...(stopSignal === '' ? [] : [[STOP_SIGNAL, stopSignal] as const]),
  ];
  setOwn(all, own, input.settings.oldAnnotationKeys);
  return toRecord(all);
}

function setOwn(all: Map<string, string>, own: readonly (readonly [string, string])[], oldKeys: boolean): void {
  for (const [key, value] of own) {
    all.set(key, value);
    const old = oldKeys ? oldAnnotationKey(key) : undefined;
    if (old !== undefined) all.set(old, value);
  }
}

/** Stop the scope after the service, and no sooner than the kubelet would [F118, P41, P95, P96]. */
function systemdProperties(input: ContainerSpecInput): (readonly [string, string])[] {
  const seconds = input.config.annotations.get('io.kubernetes.pod.terminationGracePeriod') ?? '';
  return [
    ['org.systemd.property.DefaultDependencies', 'true'],
    ['org.systemd.property.After', "['crio.service']"],
    ...(/^\d{1,12}$/.test(seconds) ? [['org.systemd.property.TimeoutStopUSec', `uint64 ${BigInt(seconds)}000000`] as const] : []),
  ];
}
