import { Failure } from '../../errors/index.ts';
import { MAX_MAPPINGS } from './id-mappings.ts';
import type { ContainerSpecInput, IdMappings, NamespacePaths, SandboxSpecInput } from './input.ts';
import { NamespaceMode, type IDMapping } from './request.ts';
import type { OciIdMapping, OciNamespace } from './types.ts';

/**
 * `linux.namespaces` of a container [F51, F58–F61]: the pod's pinned ones by path; a missing path is the host's
 * namespace; its own cgroup namespace on v2 unless privileged.
 */
export function containerNamespaces(input: ContainerSpecInput, privileged: boolean): OciNamespace[] {
  const { sandbox } = input;
  const options = input.config.linux?.securityContext?.namespaceOptions;
  const network = sandbox.hostNetwork || options?.network === NamespaceMode.NODE ? undefined : sandbox.namespaces.network;
  return [
    ...pidNamespace(input, options?.pid ?? NamespaceMode.POD),
    ...pinned({ ...sandbox.namespaces, network }),
    ...(input.host.cgroupVersion === 2 && !privileged ? [{ type: 'cgroup' } as const] : []),
  ];
}

/** The pod's own spec: a new PID namespace unless the host's is asked for [D64, D75]. */
export function sandboxNamespaces(input: SandboxSpecInput): OciNamespace[] {
  const pid = input.config.linux?.securityContext?.namespaceOptions?.pid ?? NamespaceMode.POD;
  return [...(pid === NamespaceMode.NODE ? [] : [{ type: 'pid' } as const]), ...pinned(input.namespaces)];
}

function pinned(paths: NamespacePaths): OciNamespace[] {
  const join = (type: OciNamespace['type'], path: string | undefined): OciNamespace[] => (path === undefined ? [] : [{ type, path }]);
  return [
    ...join('network', paths.network),
    ...join('ipc', paths.ipc),
    ...join('uts', paths.uts),
    { type: 'mount' },
    ...join('user', paths.user),
  ];
}

function pidNamespace(input: ContainerSpecInput, mode: number): OciNamespace[] {
  const { infra } = input.sandbox;
  switch (mode) {
    case NamespaceMode.CONTAINER:
      return [{ type: 'pid' }];
    case NamespaceMode.NODE:
      return [];
    case NamespaceMode.POD:
      if (infra === 'dropped')
        throw new Failure(
          'Unknown',
          'pod level PID namespace requested for the container, but pod sandbox was not similarly configured, and does not have an infra container',
        );
      if (infra === 'dead') throw new Failure('Unknown', 'PID namespace requested, but sandbox infra container unexpectedly invalid');
      return [{ type: 'pid', path: `/proc/${infra.pid}/ns/pid` }];
    case NamespaceMode.TARGET:
      if (input.targetPidNamespace === undefined) throw new Failure('Unknown', 'target PID namespace specified with invalid target ID');
      return [{ type: 'pid', path: input.targetPidNamespace }];
    default:
      throw new Failure('InvalidArgument', `unknown PID namespace mode ${mode}`);
  }
}

/** `linux.uidMappings` and `gidMappings` of a pod with a user namespace, also when it is joined by path [F61, G92]. */
export function idMappingFields(mappings: IdMappings | undefined): { uidMappings?: OciIdMapping[]; gidMappings?: OciIdMapping[] } {
  if (mappings === undefined) return {};
  return { uidMappings: ociMappings(mappings.uids), gidMappings: ociMappings(mappings.gids) };
}

/** Refuses more lines than the kernel takes: they would overflow a runtime's message to its init [a12]. */
export function ociMappings(mappings: readonly IDMapping[]): OciIdMapping[] {
  if (mappings.length > MAX_MAPPINGS)
    throw new Failure('InvalidArgument', `${mappings.length} id mappings are more than the kernel takes (${MAX_MAPPINGS})`);
  return mappings.map(({ containerId, hostId, length }) => ({ containerID: containerId, hostID: hostId, size: length }));
}
