/** What a field's own type cannot tell: names that must exist or be unique, and values that exclude each other. */
import { wrong } from './decode.ts';
import { isFieldPath } from './env.ts';
import type { Pod, PodContainer, Profile } from './schema.ts';

/** Failure (InvalidArgument) naming the first field that contradicts another one. */
export function checkPod(pod: Pod): void {
  const { spec } = pod;
  if (spec.containers.length === 0) throw wrong('spec.containers', 'a pod needs a container');
  if (spec.hostPID && spec.shareProcessNamespace) throw wrong('spec.shareProcessNamespace', 'excludes hostPID');
  if (spec.dnsPolicy === 'None' && (spec.dnsConfig?.nameservers.length ?? 0) === 0)
    throw wrong('spec.dnsConfig.nameservers', 'dnsPolicy None needs one');
  checkVolumes(pod);
  const all = [...listed('spec.initContainers', spec.initContainers), ...listed('spec.containers', spec.containers)];
  const names = new Set<string>();
  for (const { container, path } of all) {
    if (names.has(container.name)) throw wrong(`${path}.name`, `"${container.name}" is the name of another container`);
    names.add(container.name);
    checkContainer(pod, container, path);
  }
  spec.containers.forEach((container, index) => {
    if (container.restartPolicy !== undefined) throw wrong(`spec.containers[${index}].restartPolicy`, 'only init containers have one');
  });
  checkHostPorts(pod, all);
  checkProfile(spec.securityContext?.seccompProfile, 'spec.securityContext.seccompProfile');
  checkProfile(spec.securityContext?.appArmorProfile, 'spec.securityContext.appArmorProfile');
}

interface Listed {
  readonly container: PodContainer;
  readonly path: string;
}

function listed(path: string, containers: readonly PodContainer[]): Listed[] {
  return containers.map((container, index) => ({ container, path: `${path}[${index}]` }));
}

function checkVolumes({ spec }: Pod): void {
  const names = new Set<string>();
  spec.volumes.forEach((volume, index) => {
    const path = `spec.volumes[${index}]`;
    if (names.has(volume.name)) throw wrong(`${path}.name`, `"${volume.name}" is the name of another volume`);
    names.add(volume.name);
    if ((volume.hostPath === undefined) === (volume.emptyDir === undefined))
      throw wrong(path, 'a volume is either hostPath or emptyDir', 'Write emptyDir: {} for an empty one.');
    if (volume.hostPath?.path.split('/').includes('..') === true) throw wrong(`${path}.hostPath.path`, 'must not contain ..');
  });
}

function checkContainer(pod: Pod, container: PodContainer, path: string): void {
  const volumes = new Set(pod.spec.volumes.map((volume) => volume.name));
  const mounted = new Set<string>();
  const security = container.securityContext;
  container.volumeMounts.forEach((mount, index) => {
    const at = `${path}.volumeMounts[${index}]`;
    if (!volumes.has(mount.name)) throw wrong(`${at}.name`, `there is no volume "${mount.name}" in spec.volumes`);
    if (mounted.has(mount.mountPath)) throw wrong(`${at}.mountPath`, `"${mount.mountPath}" is mounted already`);
    mounted.add(mount.mountPath);
    if (mount.mountPropagation === 'Bidirectional' && security?.privileged !== true)
      throw wrong(`${at}.mountPropagation`, 'Bidirectional needs a privileged container');
    if (mount.recursiveReadOnly !== 'Disabled' && !mount.readOnly) throw wrong(`${at}.recursiveReadOnly`, 'needs readOnly');
  });
  container.env.forEach((variable, index) => {
    const at = `${path}.env[${index}]`;
    if (variable.valueFrom === undefined) return;
    if (variable.value !== undefined && variable.value !== '') throw wrong(`${at}.valueFrom`, 'excludes value');
    const field = variable.valueFrom.fieldRef?.fieldPath;
    if (field === undefined) throw wrong(`${at}.valueFrom`, 'needs fieldRef');
    if (!isFieldPath(field)) throw wrong(`${at}.valueFrom.fieldRef.fieldPath`, `"${field}" is not known here`);
  });
  if (security?.allowPrivilegeEscalation === false && security.privileged)
    throw wrong(`${path}.securityContext.allowPrivilegeEscalation`, 'cannot be false for a privileged container');
  checkProfile(security?.seccompProfile, `${path}.securityContext.seccompProfile`);
  checkProfile(security?.appArmorProfile, `${path}.securityContext.appArmorProfile`);
  for (const name of ['cpu', 'memory', 'hugepages-2Mi', 'hugepages-1Gi'] as const) {
    const { requests, limits } = container.resources;
    const [request, limit] = [requests[name], limits[name]];
    if (request !== undefined && limit !== undefined && request > limit)
      throw wrong(`${path}.resources.requests.${name}`, 'is more than the limit');
  }
}

function checkProfile(profile: Profile | undefined, path: string): void {
  if (profile === undefined) return;
  if (profile.type === 'Localhost' && (profile.localhostProfile ?? '') === '') throw wrong(`${path}.localhostProfile`, 'is missing');
  if (profile.type !== 'Localhost' && profile.localhostProfile !== undefined)
    throw wrong(`${path}.localhostProfile`, 'is only for type Localhost');
}

function checkHostPorts({ spec }: Pod, all: readonly Listed[]): void {
  const taken = new Set<string>();
  for (const { container, path } of all) {
    container.ports.forEach((port, index) => {
      const at = `${path}.ports[${index}].hostPort`;
      const hostPort = port.hostPort ?? 0;
      if (hostPort === 0) return;
      if (spec.hostNetwork && hostPort !== port.containerPort)
        throw wrong(at, 'must be the containerPort where the pod uses the host network');
      const key = `${port.protocol} ${port.hostIP ?? ''} ${hostPort}`;
      if (taken.has(key)) throw wrong(at, `${hostPort} is taken by another port of this pod`);
      taken.add(key);
    });
  }
}
