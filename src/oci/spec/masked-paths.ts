/** CRI-O's own list; CPU thermal throttles are added from the host's facts [F49, G72]. */
const MASKED = [
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
  '/sys/fs/selinux',
] as const;

/**
 * `linux.maskedPaths` [F49, G72–G75]: a request without any (procMount Unmasked) means none; else the sorted union of
 * the request's and ours. Nothing is masked in a privileged container.
 */
export function maskedPaths(requested: readonly string[], throttles: readonly string[]): string[] {
  if (requested.length === 0) return [];
  return [...new Set([...requested, ...MASKED, ...throttles])].sort();
}
