import { type Rows, type ValuesOf, bool, int, list, table, text } from './row.ts';

/** Keys about what a container gets: capabilities, devices, limits, profiles [B38–B62]. */
const containerRows = {
  no_pivot: bool(false, 'Containers change their root without pivot_root, for hosts that run from a ramdisk.', {
    flag: 'no-pivot',
    env: 'CONTAINER_NO_PIVOT',
    honoured: true,
  }),
  selinux: bool(false, 'SELinux labels for pods.', {
    flag: 'selinux',
    env: 'CONTAINER_SELINUX',
    deprecated: 'It follows the kernel when it is not set.',
  }),
  log_to_journald: bool(false, "Containers' output goes to the journal as well.", {
    flag: 'log-journald',
    env: 'CONTAINER_LOG_JOURNALD',
    honoured: true,
  }),
  drop_infra_ctr: bool(true, 'Pods run without a pause process unless their containers share its PID namespace.', {
    flag: 'drop-infra-ctr',
    env: 'CONTAINER_DROP_INFRA_CTR',
    honoured: true,
  }),
  read_only: bool(false, 'All containers get a read-only root file system, with tmpfs on /run, /tmp and /var/tmp.', {
    flag: 'read-only',
    env: 'CONTAINER_READ_ONLY',
    honoured: true,
  }),
  conmon_env: list([], 'Environment of the monitor of all handlers of type oci.', {
    flag: 'conmon-env',
    env: 'CONTAINER_CONMON_ENV',
    deprecated: 'Use monitor_env of the handler.',
    honoured: true,
  }),
  hooks_dir: list(['/usr/share/containers/oci/hooks.d'], 'Directories of OCI hooks; a later one wins over an earlier one by file name.', {
    flag: 'hooks-dir',
    env: 'CONTAINER_HOOKS_DIR',
  }),
  default_capabilities: list(
    ['CHOWN', 'DAC_OVERRIDE', 'FSETID', 'FOWNER', 'SETGID', 'SETUID', 'SETPCAP', 'NET_BIND_SERVICE', 'KILL'],
    'Capabilities of containers that ask for nothing else, without CAP_.',
    { flag: 'default-capabilities', env: 'CONTAINER_DEFAULT_CAPABILITIES', honoured: true },
  ),
  add_inheritable_capabilities: bool(false, 'Capabilities are put into the inheritable set too.', {
    flag: 'add-inheritable-capabilities',
    env: 'CONTAINER_ADD_INHERITABLE_CAPABILITIES',
    honoured: true,
  }),
  default_env: list([], 'Environment of all containers, as NAME=VALUE. What the image or the pod says wins.', {
    flag: 'default-env',
    env: 'CONTAINER_DEFAULT_ENV',
    honoured: true,
  }),
  min_injected_gomaxprocs: int(0, 'Least GOMAXPROCS to be set for burstable and best-effort containers. 0: none is set.', {
    flag: 'min-injected-gomaxprocs',
    env: 'CONTAINER_INJECT_GOMAXPROCS',
    honoured: true,
  }),
  default_sysctls: list([], 'Sysctls of all pods, as name=value without blanks; only those that belong to a namespace.', {
    flag: 'default-sysctls',
    env: 'CONTAINER_DEFAULT_SYSCTLS',
    honoured: true,
  }),
  default_ulimits: list([], "Limits of all containers, as name=soft:hard, such as nofile=1024:2048. Empty: the daemon's own.", {
    flag: 'default-ulimits',
    env: 'CONTAINER_DEFAULT_ULIMITS',
    honoured: true,
  }),
  allowed_devices: list(['/dev/fuse', '/dev/net/tun'], 'Host devices that a pod may ask for by annotation.', {
    flag: 'allowed-devices',
    env: 'CONTAINER_ALLOWED_DEVICES',
    honoured: true,
  }),
  additional_devices: list([], 'Devices that all containers get, as /dev/host:/dev/container:rwm.', {
    flag: 'additional-devices',
    env: 'CONTAINER_ADDITIONAL_DEVICES',
    honoured: true,
  }),
  cdi_spec_dirs: list(['/etc/cdi', '/var/run/cdi'], 'Directories of CDI device descriptions; a later one wins.', {
    flag: 'cdi-spec-dirs',
    env: 'CONTAINER_CDI_SPEC_DIRS',
    reloadable: true,
  }),
  device_ownership_from_security_context: bool(false, 'Device nodes belong to runAsUser and runAsGroup instead of root.', {
    flag: 'device-ownership-from-security-context',
    honoured: true,
  }),
  default_runtime: text('crun', 'The handler for pods that name none.', {
    flag: 'default-runtime',
    env: 'CONTAINER_DEFAULT_RUNTIME',
    reloadable: true,
    honoured: true,
  }),
  decryption_keys_path: text('/etc/crio/keys/', 'Directory of private keys for encrypted images.', {
    flag: 'decryption-keys-path',
    reloadable: true,
    honoured: true,
  }),
  additional_artifact_stores: list([], 'Read-only stores of OCI artifacts, asked before the main one. Absolute paths.', {
    flag: 'additional-artifact-stores',
    honoured: true,
  }),
  conmon: text('', 'Path of the monitor of all handlers of type oci.', {
    flag: 'conmon',
    env: 'CONTAINER_CONMON',
    deprecated: 'Use monitor_path of the handler.',
    honoured: true,
  }),
  conmon_cgroup: text('', 'Cgroup of the monitor of all handlers of type oci.', {
    flag: 'conmon-cgroup',
    env: 'CONTAINER_CONMON_CGROUP',
    deprecated: 'Use monitor_cgroup of the handler.',
    honoured: true,
  }),
  seccomp_profile: text('', 'JSON file that stands for RuntimeDefault. Empty or missing: the built-in profile.', {
    flag: 'seccomp-profile',
    env: 'CONTAINER_SECCOMP_PROFILE',
    reloadable: true,
    honoured: true,
  }),
  privileged_seccomp_profile: text('', 'JSON file of the seccomp profile for privileged pods and containers. Empty: none.', {
    flag: 'privileged-seccomp-profile',
    env: 'CONTAINER_PRIVILEGED_SECCOMP_PROFILE',
    reloadable: true,
    honoured: true,
  }),
  apparmor_profile: text('crio-default', 'AppArmor profile of containers that name none; unconfined for none.', {
    flag: 'apparmor-profile',
    env: 'CONTAINER_APPARMOR_PROFILE',
    reloadable: true,
  }),
} satisfies Rows;

/** Keys about the node: classes, cgroups, directories, logs, mappings [B63–B90]. */
const nodeRows = {
  blockio_config_file: text('', 'YAML file of block I/O classes. Empty: no classes.', { flag: 'blockio-config-file', reloadable: true }),
  blockio_reload: bool(false, 'The file of block I/O classes is read again before each use.', { flag: 'blockio-reload', reloadable: true }),
  irqbalance_config_file: text('/etc/sysconfig/irqbalance', 'File in which the banned CPUs of irqbalance are kept up to date.', {
    flag: 'irqbalance-config-file',
  }),
  rdt_config_file: text('', 'YAML file of resctrl classes. Empty: no classes.', { flag: 'rdt-config-file', reloadable: true }),
  cgroup_manager: text('systemd', 'Who makes cgroups: systemd or cgroupfs. The kubelet is told.', {
    flag: 'cgroup-manager',
    env: 'CONTAINER_CGROUP_MANAGER',
    honoured: true,
  }),
  default_mounts_file: text('', 'File of lines /SOURCE:/DESTINATION that are copied into all containers, instead of mounts.conf.', {
    flag: 'default-mounts-file',
    env: 'CONTAINER_DEFAULT_MOUNTS_FILE',
    honoured: true,
  }),
  container_exits_dir: text('/var/run/crio/exits', 'Directory in which monitors leave the exit codes of containers.', {
    flag: 'container-exits-dir',
    env: 'CONTAINER_EXITS_DIR',
    honoured: true,
  }),
  container_attach_socket_dir: text('/var/run/crio', 'Directory of the sockets for attach.', {
    flag: 'container-attach-socket-dir',
    env: 'CONTAINER_ATTACH_SOCKET_DIR',
    honoured: true,
  }),
  bind_mount_prefix: text('', 'Put before the source of every bind mount.', {
    flag: 'bind-mount-prefix',
    env: 'CONTAINER_BIND_MOUNT_PREFIX',
    honoured: true,
  }),
  uid_mappings: text('', 'User ids of all pods, as container:host:size, separated by commas. Counts only together with gid_mappings.', {
    flag: 'uid-mappings',
    env: 'CONTAINER_UID_MAPPINGS',
    deprecated: 'Use user namespaces of Kubernetes.',
    honoured: true,
  }),
  minimum_mappable_uid: int(-1, 'Lowest host user id that a mapping of a pod that is not root may hold.', {
    flag: 'minimum-mappable-uid',
    env: 'CONTAINER_MINIMUM_MAPPABLE_UID',
    deprecated: 'Use user namespaces of Kubernetes.',
    honoured: true,
  }),
  gid_mappings: text('', 'Group ids of all pods, as container:host:size, separated by commas. Counts only together with uid_mappings.', {
    flag: 'gid-mappings',
    env: 'CONTAINER_GID_MAPPINGS',
    deprecated: 'Use user namespaces of Kubernetes.',
    honoured: true,
  }),
  minimum_mappable_gid: int(-1, 'Lowest host group id that a mapping of a pod that is not root may hold.', {
    flag: 'minimum-mappable-gid',
    env: 'CONTAINER_MINIMUM_MAPPABLE_GID',
    deprecated: 'Use user namespaces of Kubernetes.',
    honoured: true,
  }),
  log_level: text('info', 'Least important lines to log: trace, debug, info, warn, error, fatal or panic.', {
    flag: 'log-level',
    alias: 'l',
    env: 'CONTAINER_LOG_LEVEL',
    reloadable: true,
    honoured: true,
  }),
  log_filter: text('', 'Regular expression; log lines whose message does not match are dropped.', {
    flag: 'log-filter',
    env: 'CONTAINER_LOG_FILTER',
    reloadable: true,
    honoured: true,
  }),
  namespaces_dir: text('/var/run', 'Directory whose netns, ipcns, utsns and userns hold the namespaces of pods.', {
    flag: 'namespaces-dir',
    env: 'CONTAINER_NAMESPACES_DIR',
    honoured: true,
  }),
  pinns_path: text('', 'Path of the helper pinns. Not needed: the daemon makes namespaces itself.', {
    flag: 'pinns-path',
    env: 'CONTAINER_PINNS_PATH',
  }),
  enable_criu_support: bool(true, 'Checkpoint and restore; false turns both off.', {
    flag: 'enable-criu-support',
    env: 'CONTAINER_ENABLE_CRIU_SUPPORT',
    deprecated: 'Use container_level_enabled of [crio.checkpoint_restore].',
  }),
  pids_limit: int(-1, 'Most processes in a container. -1: no limit from here.', {
    flag: 'pids-limit',
    env: 'CONTAINER_PIDS_LIMIT',
    deprecated: "Use the kubelet's podPidsLimit.",
    honoured: true,
  }),
  log_size_max: int(-1, 'Largest log of a container in bytes, at least 8192. Negative: no limit.', {
    flag: 'log-size-max',
    env: 'CONTAINER_LOG_SIZE_MAX',
    deprecated: "Use the kubelet's containerLogMaxSize.",
    honoured: true,
  }),
  ctr_stop_timeout: int(30, 'Least seconds that a container has to stop; values below 30 are raised.', {
    flag: 'ctr-stop-timeout',
    env: 'CONTAINER_STOP_TIMEOUT',
  }),
  separate_pull_cgroup: text('', "Slice in which images are pulled; pod for the pod's own. Empty: the daemon's.", {
    flag: 'separate-pull-cgroup',
    env: 'PULL_IN_A_CGROUP',
    honoured: true,
  }),
  infra_ctr_cpuset: text('', 'CPUs, such as 0-1,3, for pause processes and for the helpers of the daemon. Empty: all.', {
    flag: 'infra-ctr-cpuset',
    env: 'CONTAINER_INFRA_CTR_CPUSET',
    honoured: true,
  }),
  shared_cpuset: text('', 'CPUs that guaranteed containers may share when an annotation asks for it.', {
    flag: 'shared-cpuset',
    env: 'CONTAINER_SHARED_CPUSET',
  }),
  absent_mount_sources_to_reject: list([], 'Mount sources that are not made when they are missing; the container fails instead.', {
    flag: 'absent-mount-sources-to-reject',
    env: 'CONTAINER_ABSENT_MOUNT_SOURCES_TO_REJECT',
    honoured: true,
  }),
  enable_pod_events: bool(false, 'The kubelet may subscribe to container events instead of asking every second.', {
    flag: 'enable-pod-events',
    env: 'ENABLE_POD_EVENTS',
    honoured: true,
  }),
  irqbalance_config_restore_file: text(
    '/etc/sysconfig/orig_irq_banned_cpus',
    'File of the irqbalance mask that is restored at start; disable for none.',
    { flag: 'irqbalance-config-restore-file' },
  ),
  hostnetwork_disable_selinux: bool(true, "Pods in the host's network get no SELinux process label.", {
    flag: 'hostnetwork-disable-selinux',
    env: 'CONTAINER_HOSTNETWORK_DISABLE_SELINUX',
    honoured: true,
  }),
  disable_hostport_mapping: bool(false, 'Host ports of pods are left to others, such as the CNI plugins.', {
    flag: 'disable-hostport-mapping',
    env: 'DISABLE_HOSTPORT_MAPPING',
    honoured: true,
  }),
  timezone: text('', "Time zone of all containers, such as Europe/Berlin; Local for the host's. Empty: the image's.", {
    flag: 'timezone',
    alias: 'tz',
    env: 'CONTAINER_TIME_ZONE',
    honoured: true,
  }),
} satisfies Rows;

/** `[crio.runtime]` without its named tables. */
export const runtimeTable = table('crio.runtime', 'How containers are run: defaults for all of them, directories, limits.', {
  ...containerRows,
  ...nodeRows,
});

export type RuntimeSettings = ValuesOf<(typeof runtimeTable)['rows']>;
