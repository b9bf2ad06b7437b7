/** Security contexts of pod and containers as CRI says them; what a container says counts before what its pod says. */
import {
  type Image,
  type LinuxContainerSecurityContext,
  type LinuxSandboxSecurityContext,
  type MessageInput,
  type NamespaceOption,
  NamespaceMode,
  type SecurityProfile,
  SecurityProfile_ProfileType as ProfileType,
  SupplementalGroupsPolicy,
} from '../../wire/index.ts';
import { Failure } from '../../errors/index.ts';
import type { Pod, PodContainer, Profile } from './schema.ts';

/** Where the kubelet, too, looks for profiles of type Localhost. */
const SECCOMP_ROOT = '/var/lib/kubelet/seccomp';

/** What the kubelet hides of /proc and /sys; a runtime takes an empty list for the wish to hide nothing [F49]. */
const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const PROFILE_TYPES = {
  RuntimeDefault: ProfileType.RuntimeDefault,
  Unconfined: ProfileType.Unconfined,
  Localhost: ProfileType.Localhost,
} as const;

function namespacesOf({ spec }: Pod): MessageInput<NamespaceOption> {
  return {
    network: spec.hostNetwork ? NamespaceMode.NODE : NamespaceMode.POD,
    ipc: spec.hostIPC ? NamespaceMode.NODE : NamespaceMode.POD,
    pid: spec.hostPID ? NamespaceMode.NODE : spec.shareProcessNamespace ? NamespaceMode.POD : NamespaceMode.CONTAINER,
  };
}

function groupsOf({ spec }: Pod): { supplementalGroups: bigint[]; supplementalGroupsPolicy: SupplementalGroupsPolicy } {
  const context = spec.securityContext;
  const groups = [...(context?.fsGroup === undefined ? [] : [context.fsGroup]), ...(context?.supplementalGroups ?? [])];
  return {
    supplementalGroups: groups.map(BigInt),
    supplementalGroupsPolicy:
      context?.supplementalGroupsPolicy === 'Strict' ? SupplementalGroupsPolicy.Strict : SupplementalGroupsPolicy.Merge,
  };
}

function numberValue(value: number | undefined): { value: bigint } | undefined {
  return value === undefined ? undefined : { value: BigInt(value) };
}

/** Nothing said is nothing sent: the daemon's own default profile applies. `root`: directory of relative names. */
function profileOf(profile: Profile | undefined, root: string | undefined): MessageInput<SecurityProfile> | undefined {
  if (profile === undefined) return undefined;
  const name = profile.localhostProfile ?? '';
  return { profileType: PROFILE_TYPES[profile.type], localhostRef: root === undefined || name === '' ? name : `${root}/${name}` };
}

export function sandboxSecurity(pod: Pod): MessageInput<LinuxSandboxSecurityContext> {
  const context = pod.spec.securityContext;
  return {
    namespaceOptions: namespacesOf(pod),
    privileged: [...pod.spec.initContainers, ...pod.spec.containers].some((container) => container.securityContext?.privileged === true),
    seccomp: { profileType: ProfileType.RuntimeDefault },
    runAsUser: numberValue(context?.runAsUser),
    runAsGroup: numberValue(context?.runAsGroup),
    selinuxOptions: context?.seLinuxOptions,
    ...groupsOf(pod),
  };
}

export function containerSecurity(pod: Pod, container: PodContainer): MessageInput<LinuxContainerSecurityContext> {
  const own = container.securityContext;
  const shared = pod.spec.securityContext;
  const unmasked = own?.procMount === 'Unmasked';
  return {
    namespaceOptions: namespacesOf(pod),
    privileged: own?.privileged ?? false,
    capabilities: { addCapabilities: own?.capabilities.add ?? [], dropCapabilities: own?.capabilities.drop ?? [] },
    readonlyRootfs: own?.readOnlyRootFilesystem ?? false,
    noNewPrivs: own?.allowPrivilegeEscalation === false,
    runAsUser: numberValue(own?.runAsUser ?? shared?.runAsUser),
    runAsGroup: numberValue(own?.runAsGroup ?? shared?.runAsGroup),
    selinuxOptions: own?.seLinuxOptions ?? shared?.seLinuxOptions,
    seccomp: profileOf(own?.seccompProfile ?? shared?.seccompProfile, SECCOMP_ROOT),
    apparmor: profileOf(own?.appArmorProfile ?? shared?.appArmorProfile, undefined),
    maskedPaths: unmasked ? [] : MASKED_PATHS,
    readonlyPaths: unmasked ? [] : READONLY_PATHS,
    ...groupsOf(pod),
  };
}

/** Failure (FailedPrecondition) if runAsNonRoot is wanted and the container would be root, or nobody can tell. */
export function checkNonRoot(pod: Pod, container: PodContainer, image: Pick<Image, 'uid' | 'username'> | undefined): void {
  const own = container.securityContext;
  const shared = pod.spec.securityContext;
  if ((own?.runAsNonRoot ?? shared?.runAsNonRoot) !== true) return;
  const said = own?.runAsUser ?? shared?.runAsUser;
  const user = said === undefined ? image?.uid?.value : BigInt(said);
  const refuse = (why: string, advice: string): Failure =>
    new Failure('FailedPrecondition', `container ${container.name}: ${why}`, { advice });
  if (user === undefined && (image?.username ?? '') !== '') {
    throw refuse(
      `runAsNonRoot cannot be verified, the image names its user "${image?.username}"`,
      'Set securityContext.runAsUser to a number.',
    );
  }
  if ((user ?? 0n) === 0n)
    throw refuse('runAsNonRoot is set, but it would run as root', 'Set securityContext.runAsUser, or use an image with a user.');
}
