import { type Rows, type ValuesOf, bool, int, list, map, table, text } from './row.ts';

/**
 * `[crio.runtime.runtimes.NAME]` [B91–B112]. The defaults here are the zero values: a table in a file replaces
 * a handler of that name as a whole, the built-in one too [B6].
 */
export const handlerTable = table(
  'crio.runtime.runtimes',
  'A handler: a table by its name for each way to run containers. A pod chooses by its runtime class. A table here replaces the built-in one of that name as a whole.',
  {
    runtime_config_path: text('', 'Configuration file of the runtime; only with runtime_type "vm".'),
    runtime_path: text('', "Path of the runtime. Empty: the program of the handler's name in $PATH.", { honoured: true }),
    runtime_type: text('', 'oci for runtimes such as crun or runc, vm for a containerd shim, pod for conmon-rs. Empty: oci.', {
      honoured: true,
    }),
    runtime_root: text('', "Directory of the runtime's state.", { honoured: true }),
    privileged_without_host_devices: bool(false, "Privileged containers do not get the host's devices.", {
      omitEmpty: true,
      honoured: true,
    }),
    allowed_annotations: list([], 'Annotations that pods of this handler may use; all other experimental ones are dropped.', {
      omitEmpty: true,
      honoured: true,
    }),
    monitor_path: text('', 'Path of the monitor. Empty: conmon in $PATH.', { omitEmpty: true, honoured: true }),
    monitor_cgroup: text('', 'Cgroup of the monitor: pod, or a slice of systemd. Empty: system.slice with systemd.', {
      omitEmpty: true,
      honoured: true,
    }),
    monitor_env: list([], 'Environment of the monitor, as NAME=VALUE.', { omitEmpty: true, honoured: true }),
    monitor_exec_cgroup: text('', "container: commands of exec probes run in the container's cgroup.", { omitEmpty: true, honoured: true }),
    platform_runtime_paths: map(new Map(), 'Another runtime for images of a platform, such as { "linux/arm64" = "/usr/bin/crun-arm64" }.', {
      omitEmpty: true,
      honoured: true,
    }),
    runtime_pull_image: bool(false, 'The runtime pulls the image itself; only with runtime_type "vm".', { omitEmpty: true }),
    container_min_memory: text('', 'Least memory limit of a container, such as 500KiB. Empty: 12MiB.', { omitEmpty: true, honoured: true }),
    no_sync_log: bool(false, 'Logs are not flushed to the disk when a container ends.', { honoured: true }),
    inherit_default_runtime: bool(false, 'Path, type, configuration and root are those of the default handler.', {
      omitEmpty: true,
      honoured: true,
    }),
    default_annotations: map(new Map(), 'Annotations that pods of this handler get unless they set them.', {
      omitEmpty: true,
      honoured: true,
    }),
    stream_websockets: bool(false, 'Streams are served by conmon-rs; only with runtime_type "pod".', { omitEmpty: true }),
    exec_cpu_affinity: text('', 'first: what is executed in a high-performance container starts on the first of its CPUs.', {
      omitEmpty: true,
      honoured: true,
    }),
    seccomp_profile: text('', 'JSON file that stands for RuntimeDefault with this handler.', { omitEmpty: true, honoured: true }),
    container_create_timeout: int(0, 'Seconds that the creation of a container may take, at least 30. 0: 240.', {
      omitEmpty: true,
      honoured: true,
    }),
  } satisfies Rows,
);

export type RuntimeHandlerConfig = ValuesOf<(typeof handlerTable)['rows']>;

export const DEFAULT_RUNTIME = 'crun';

/** The handler that is there without any file [B91, K2]. */
export const builtInHandler = {
  runtime_type: 'oci',
  runtime_root: '/run/crun',
  allowed_annotations: ['io.containers.trace-syscall', 'devices.crio.io'],
  monitor_cgroup: 'system.slice',
  monitor_env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
  container_min_memory: '500KiB',
  container_create_timeout: 240,
} satisfies Partial<Record<keyof (typeof handlerTable)['rows'], unknown>>;
