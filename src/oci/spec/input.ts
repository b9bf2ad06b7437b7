import type { Architecture, SeccompChoice } from '../../security/index.ts';
import type { ContainerConfig, IDMapping, PodSandboxConfig, StringMap } from './request.ts';
import type { OciBlockIo, OciDevice, OciDeviceCgroup, OciHooks, OciMount } from './types.ts';

/** What the node and our own process are able to do. Read once at start (`readHostFacts` of oci/host). */
export interface HostFacts {
  readonly architecture: Architecture;
  readonly cgroupVersion: 1 | 2;
  readonly swapAccounting: boolean;
  readonly hugetlb: boolean;
  readonly pidsController: boolean;
  readonly selinux: boolean;
  readonly apparmor: boolean;
  readonly seccomp: boolean;
  /** `6.18.44-generic` */
  readonly kernelVersion: string;
  /** Every capability that this kernel knows, `CAP_…`, in the kernel's order. */
  readonly capabilities: readonly string[];
  /** Those of our own bounding set: more cannot be handed on. */
  readonly boundingSet: ReadonlySet<string>;
  /** The lowest oom_score_adj that we may set; -1000 with CAP_SYS_RESOURCE. */
  readonly lowestOomScoreAdj: number;
  /** Hard limits that we cannot raise, by `RLIMIT_…`; a missing name has no ceiling. */
  readonly rlimitCeilings: ReadonlyMap<string, bigint>;
  /** /dev/mqueue is mounted: what a user namespace with the host's IPC can be shown. */
  readonly mqueue: boolean;
  /** The `thermal_throttle` directory of each CPU below /sys/devices/system/cpu, listed once [F49]. */
  readonly thermalThrottlePaths: readonly string[];
}

/** What `<runtime> features` answered, as far as a spec depends on it [K17, K18]. */
export interface RuntimeFacts {
  readonly ociVersionMin?: string | undefined;
  readonly ociVersionMax?: string | undefined;
  /** It is crun (`run.oci.crun.version` in its features, or `--version`); undefined = not known. */
  readonly crun?: boolean | undefined;
  readonly idmapMounts: boolean;
  readonly recursiveReadOnly: boolean;
  /** Mount options the runtime knows; undefined = it did not say. */
  readonly mountOptions?: ReadonlySet<string> | undefined;
  /** `potentiallyUnsafeConfigAnnotations`: keys, or prefixes that end in a dot. */
  readonly unsafeAnnotations: readonly string[];
}

/** `name=soft:hard` of `default_ulimits`, parsed; -1 is 2⁶⁴−1 [L42]. */
export interface Ulimit {
  /** Without `RLIMIT_`, lower case: `nofile`. */
  readonly name: string;
  readonly soft: bigint;
  readonly hard: bigint;
}

/** Numbers of a workload's table or of its per-container annotation; zero and empty mean "not given" [L54–L60]. */
export interface WorkloadResources {
  readonly cpuShares: bigint;
  readonly cpuQuota: bigint;
  readonly cpuPeriod: bigint;
  readonly cpuLimit: bigint;
  readonly cpuset: string;
}

export interface Workload {
  readonly annotationPrefix: string;
  readonly resources?: WorkloadResources | undefined;
}

/** From the configuration. */
export interface SpecSettings {
  readonly defaultEnv: readonly string[];
  /** With or without `CAP_`. */
  readonly defaultCapabilities: readonly string[];
  readonly addInheritableCapabilities: boolean;
  readonly defaultUlimits: readonly Ulimit[];
  /** Used for `nofile` when `defaultUlimits` has none; undefined leaves it to whoever started us [p61]. */
  readonly nofileFallback?: { readonly soft: bigint; readonly hard: bigint } | undefined;
  readonly pidsLimit: bigint;
  readonly readOnly: boolean;
  readonly systemdCgroups: boolean;
  /** 0 = off [F17]. */
  readonly minInjectedGomaxprocs: number;
  readonly infraCtrCpuset: string;
  /** Also write the annotation keys that CRI-O before 1.35 reads [P98]. */
  readonly oldAnnotationKeys: boolean;
}

export interface ImageFacts {
  /** 64 hex. */
  readonly id: string;
  /** Some name of the image, may be empty. */
  readonly someName: string;
  readonly repoDigests: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly stopSignal: string;
}

export interface IdMappings {
  readonly uids: readonly IDMapping[];
  readonly gids: readonly IDMapping[];
}

/** Paths of pinned namespaces; undefined = the host's. */
export interface NamespacePaths {
  readonly network: string | undefined;
  readonly ipc: string | undefined;
  readonly uts: string | undefined;
  readonly user: string | undefined;
}

/** What a container's spec takes from its pod. */
export interface SandboxFacts {
  readonly id: string;
  /** `k8s_<pod>_<namespace>_<uid>_<attempt>` */
  readonly name: string;
  readonly hostname: string;
  /** Filtered, with the handler's defaults [F121, P9]. */
  readonly annotations: StringMap;
  readonly labels: StringMap;
  readonly ips: readonly string[];
  readonly namespaces: NamespacePaths;
  /** The init process of the infra container; `dropped` = there is none, `dead` = it ended. */
  readonly infra: { readonly pid: number } | 'dropped' | 'dead';
  readonly hostNetwork: boolean;
  readonly privileged: boolean;
  /** The parent as CRI gave it. */
  readonly cgroupParent: string;
  readonly idMappings: IdMappings | undefined;
  /** Empty = none. */
  readonly resolvPath: string;
  readonly shmPath: string;
  readonly hostnamePath: string;
  readonly containerEnvPath: string;
}

/** `lookupUser` of oci/rootfs [F20–F23]. */
export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  /** Primary gid first [F23]. */
  readonly additionalGids: readonly number[];
}

/** Host nodes that were looked at: spec entries and cgroup rules, in F101's order. */
export interface ResolvedDevices {
  readonly devices: readonly OciDevice[];
  /** After the "deny all" rule; `allowAll` replaces the whole list [F104]. */
  readonly rules: readonly OciDeviceCgroup[];
  readonly allowAll: boolean;
}

/** `resolveMounts` of oci/rootfs: CRI's mounts after every look at the host [F75–F95]. */
export interface ResolvedMounts {
  readonly binds: readonly OciMount[];
  /** Overlay mounts of image volumes and file binds of artifacts [F91, F94]. */
  readonly images: readonly OciMount[];
  /** `rslave` or `rshared` when a mount needs it [F80]. */
  readonly rootfsPropagation: string | undefined;
  /** Annotation Volumes, as JSON [F88]. */
  readonly volumes: readonly VolumeEntry[];
}

/** One entry of annotation Volumes; the JSON keys are CRI-O's. */
export interface VolumeEntry {
  readonly container_path: string;
  readonly host_path: string;
  readonly readonly: boolean;
  readonly recursive_read_only: boolean;
  readonly propagation: number;
  readonly selinux_relabel: boolean;
  readonly image?: { readonly image: string };
}

export interface ContainerSpecInput {
  readonly id: string;
  /** `k8s_<ctr>_<pod>_<namespace>_<uid>_<attempt>` */
  readonly name: string;
  /** RFC 3339 with nanoseconds. */
  readonly created: string;
  /** With filtered annotations. */
  readonly config: ContainerConfig;
  readonly sandbox: SandboxFacts;
  readonly image: ImageFacts;
  /** The mounted rootfs. */
  readonly rootfs: string;
  readonly logPath: string;
  /** `linux.cgroupsPath` (`containerCgroupsPath` of resources/cgroups). */
  readonly cgroupsPath: string;
  readonly user: ResolvedUser;
  readonly mounts: ResolvedMounts;
  /** Copies of /etc/passwd and /etc/group with one more line [F24–F27]. */
  readonly userFiles: readonly OciMount[];
  /** Image volumes in bind mode and subscriptions: sorted among the CRI binds [F96–F98]. */
  readonly volumes: readonly OciMount[];
  /** After everything else: /etc/localtime, fips_enabled [F73, F100]. */
  readonly lateMounts: readonly OciMount[];
  readonly devices: ResolvedDevices;
  readonly seccomp: SeccompChoice;
  /** Empty = not set. */
  readonly apparmorProfile: string;
  readonly processLabel: string;
  readonly mountLabel: string;
  /** Pinned PID namespace of the target container for pid mode TARGET. */
  readonly targetPidNamespace?: string | undefined;
  readonly blockIo?: OciBlockIo | undefined;
  readonly rdtClass?: string | undefined;
  readonly hooks?: OciHooks | undefined;
  readonly workload?: Workload | undefined;
  /** Its name as the configuration has it, and its `exec_cpu_affinity`: empty or `first` [K15]. */
  readonly handler: { readonly name: string; readonly execCpuAffinity: string };
  /** `container_min_memory`, bytes [L14]. */
  readonly minMemory: bigint;
  readonly platformRuntimePath: string;
  readonly runtime: RuntimeFacts;
  readonly host: HostFacts;
  readonly settings: SpecSettings;
}

export interface SandboxSpecInput {
  readonly id: string;
  /** `k8s_<pod>_<namespace>_<uid>_<attempt>` */
  readonly name: string;
  /** `k8s_POD_<pod>_<namespace>_<uid>_<attempt>` */
  readonly infraName: string;
  readonly created: string;
  readonly config: PodSandboxConfig;
  /** Filtered, with the handler's defaults [P49]. */
  readonly annotations: StringMap;
  /** With `io.kubernetes.container.name=POD` [D49]. */
  readonly labels: StringMap;
  readonly runtimeHandler: string;
  readonly hostname: string;
  readonly rootfs: string;
  readonly logPath: string;
  /** The pause image, normalised with tag [P56]. */
  readonly pauseImage: string;
  readonly pause: Pick<ImageFacts, 'entrypoint' | 'cmd' | 'stopSignal'>;
  /** `pause_command`; empty = the image's entrypoint and cmd [D46]. */
  readonly pauseCommand: string;
  readonly namespaces: NamespacePaths;
  readonly idMappings: IdMappings | undefined;
  /** The parent as used [P64]. */
  readonly cgroupParent: string;
  readonly cgroupsPath: string;
  readonly resolvPath: string;
  readonly shmPath: string;
  readonly hostnamePath: string;
  /** JSON of the CNI result; undefined for host network [P68]. */
  readonly cniResult: string | undefined;
  /** No infra process [D76]. */
  readonly spoofed: boolean;
  /** Privileged flag or host network, pid or ipc [G25]. */
  readonly privileged: boolean;
  /** What `planSysctls` let through. */
  readonly sysctls: StringMap;
  readonly seccomp: SeccompChoice;
  readonly processLabel: string;
  readonly mountLabel: string;
  readonly runtime: RuntimeFacts;
  readonly host: HostFacts;
  readonly settings: SpecSettings;
}

export type { SeccompChoice };

export interface SpecResult<T> {
  readonly spec: T;
  /** To be logged, one line each. */
  readonly warnings: readonly string[];
}
