import { invalid } from './check.ts';

const RENAMED = (
  'cgroup2-mount-hierarchy-rw:cgroup2-mount-hierarchy-rw devices:Devices disable-fips:DisableFIPS link-logs:LinkLogs ' +
  'platform-runtime-path:PlatformRuntimePath pod-linux-overhead:PodLinuxOverhead pod-linux-resources:PodLinuxResources ' +
  'seccomp-notifier-action:seccompNotifierAction shm-size:ShmSize spoofed:Spoofed ' +
  'try-skip-volume-selinux-label:TrySkipVolumeSELinuxLabel umask:umask unified-cgroup:UnifiedCgroup userns-mode:userns-mode'
).split(' ');

/** What `allowed_annotations` may name: the gated keys, new and old, and those that runtimes read [P1, P2]. */
const ALLOWED: ReadonlySet<string> = new Set([
  ...RENAMED.map((pair) => `${pair.slice(0, pair.indexOf(':'))}.crio.io`),
  ...RENAMED.map((pair) => `io.kubernetes.cri-o.${pair.slice(pair.indexOf(':') + 1)}`),
  'seccomp-profile.crio.io',
  'seccomp-profile.kubernetes.cri-o.io',
  ...['cpu-c-states', 'cpu-freq-governor', 'cpu-load-balancing', 'cpu-quota', 'cpu-shared', 'irq-load-balancing'].map(
    (name) => `${name}.crio.io`,
  ),
  'io.containers.trace-syscall',
  'org.opencontainers.image.stopSignal',
  'io.kubernetes.cri.rdt-class',
  'bundle',
  'org.systemd.property.',
  'org.criu.config',
  'module.wasm.image/variant',
  'io.kubernetes.cri.container-type',
  'run.oci.',
]);

/** Failure for the first entry that gates nothing [B99]. */
export function checkAllowedAnnotations(annotations: readonly string[]): void {
  const unknown = annotations.find((annotation) => !ALLOWED.has(annotation));
  if (unknown !== undefined)
    throw invalid(`invalid allowed_annotation: ${unknown}`, 'Take it out of allowed_annotations, or correct its spelling.');
}
