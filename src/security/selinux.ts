import { readFileSync } from 'node:fs';

/** Whether SELinux is on: its file system is mounted [G46]. */
export function isSelinuxEnabled(): boolean {
  try {
    readFileSync('/sys/fs/selinux/enforce');
    return true;
  } catch {
    return false;
  }
}

export interface SelinuxOptions {
  readonly user: string;
  readonly role: string;
  readonly type: string;
  readonly level: string;
}

/** The pod's process label with the parts that the container sets in its place [F54, G49]. */
export function containerLabel(podLabel: string, options: SelinuxOptions | undefined): string {
  if (podLabel === '' || options === undefined) return podLabel;
  const [user = '', role = '', type = '', ...level] = podLabel.split(':');
  return [options.user || user, options.role || role, options.type || type, options.level || level.join(':')].join(':');
}

export interface LabelRules {
  readonly privileged: boolean;
  readonly hostPid: boolean;
  readonly hostIpc: boolean;
  readonly hostNetwork: boolean;
  /** `hostnetwork_disable_selinux` */
  readonly hostNetworkDisables: boolean;
}

/** Which labels remain: none with the host's PIDs or IPC; no process label for privileged and most host-network containers [F54, G50–G52]. */
export function applyLabelRules(
  labels: { processLabel: string; mountLabel: string },
  rules: LabelRules,
): { processLabel: string; mountLabel: string } {
  if (rules.hostPid || rules.hostIpc) return { processLabel: '', mountLabel: '' };
  if (rules.privileged || (rules.hostNetwork && rules.hostNetworkDisables)) return { ...labels, processLabel: '' };
  return labels;
}
