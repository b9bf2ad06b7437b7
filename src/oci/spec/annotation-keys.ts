import type { StringMap } from './request.ts';

/** Keys that a pod may set only where the handler or the workload allows them, and their names before CRI-O 1.35 [P1, F120]. */
const OLD_KEYS: ReadonlyMap<string, string> = new Map([
  ['cgroup2-mount-hierarchy-rw.crio.io', 'io.kubernetes.cri-o.cgroup2-mount-hierarchy-rw'],
  ['devices.crio.io', 'io.kubernetes.cri-o.Devices'],
  ['disable-fips.crio.io', 'io.kubernetes.cri-o.DisableFIPS'],
  ['link-logs.crio.io', 'io.kubernetes.cri-o.LinkLogs'],
  ['platform-runtime-path.crio.io', 'io.kubernetes.cri-o.PlatformRuntimePath'],
  ['pod-linux-overhead.crio.io', 'io.kubernetes.cri-o.PodLinuxOverhead'],
  ['pod-linux-resources.crio.io', 'io.kubernetes.cri-o.PodLinuxResources'],
  ['seccomp-notifier-action.crio.io', 'io.kubernetes.cri-o.seccompNotifierAction'],
  ['seccomp-profile.crio.io', 'seccomp-profile.kubernetes.cri-o.io'],
  ['shm-size.crio.io', 'io.kubernetes.cri-o.ShmSize'],
  ['spoofed.crio.io', 'io.kubernetes.cri-o.Spoofed'],
  ['try-skip-volume-selinux-label.crio.io', 'io.kubernetes.cri-o.TrySkipVolumeSELinuxLabel'],
  ['umask.crio.io', 'io.kubernetes.cri-o.umask'],
  ['unified-cgroup.crio.io', 'io.kubernetes.cri-o.UnifiedCgroup'],
  ['userns-mode.crio.io', 'io.kubernetes.cri-o.userns-mode'],
]);

const WITHOUT_OLD_NAME = [
  'cpu-c-states.crio.io',
  'cpu-freq-governor.crio.io',
  'cpu-load-balancing.crio.io',
  'cpu-quota.crio.io',
  'cpu-shared.crio.io',
  'irq-load-balancing.crio.io',
  'io.containers.trace-syscall',
  'org.opencontainers.image.stopSignal',
  'io.kubernetes.cri.rdt-class',
];

/** Read by OCI runtimes: they steer systemd units, CRIU, handlers [P2, a23]. */
const RUNTIME_KEYS = [
  'bundle',
  'org.systemd.property.',
  'org.criu.config',
  'module.wasm.image/variant',
  'io.kubernetes.cri.container-type',
  'run.oci.',
];

/** Every entry that `allowed_annotations` may hold [P1, P2]. */
export const GATED_ANNOTATIONS: readonly string[] = [...OLD_KEYS.keys(), ...OLD_KEYS.values(), ...WITHOUT_OLD_NAME, ...RUNTIME_KEYS];

/** The name before CRI-O 1.35, if the key had one. */
export function oldAnnotationKey(key: string): string | undefined {
  return OLD_KEYS.get(key);
}

/**
 * Drops every annotation whose key starts with a gated key that is not allowed [F121, P3–P7, G106, a22, a23].
 * `unsafe` are the runtime's own names (`features`), where one that ends in a dot is a prefix and others are whole keys.
 */
export function filterAnnotations(annotations: StringMap, allowed: readonly string[], unsafe: readonly string[] = []): Map<string, string> {
  const gated = GATED_ANNOTATIONS.filter((key) => !allowed.includes(key));
  const more = unsafe.filter((key) => !allowed.some((entry) => entry === key || (entry.endsWith('.') && key.startsWith(entry))));
  const kept = new Map<string, string>();
  for (const [key, value] of annotations) {
    if (gated.some((prefix) => key.startsWith(prefix))) continue;
    if (more.some((name) => (name.endsWith('.') ? key.startsWith(name) : key === name))) continue;
    kept.set(key, value);
  }
  return kept;
}

/** The value under the new key, else under the old one; `suffix` names a container: `<key>/<suffix>` [F120, P8]. */
export function annotationValue(annotations: StringMap, key: string, suffix?: string): string | undefined {
  const tail = suffix === undefined ? '' : `/${suffix}`;
  const old = OLD_KEYS.get(key);
  return annotations.get(`${key}${tail}`) ?? (old === undefined ? undefined : annotations.get(`${old}${tail}`));
}
