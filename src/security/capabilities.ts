import { readFileSync } from 'node:fs';
import { Failure } from '../errors/index.ts';

/** Linux' capabilities in the kernel's order: the index is the number of capabilities(7). */
export const CAPABILITIES = [
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE',
  'NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN',
  'SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE',
  'MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE',
].flatMap((line) => line.split(' ').map((name) => `CAP_${name}`)) as readonly string[];

/** `CAP_` + upper case of a name given with or without the prefix, in any case [F47]. */
export function capabilityName(text: string): string {
  const upper = text.toUpperCase();
  return upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
}

/** The capabilities of a hexadecimal mask as /proc/PID/status prints it (`CapBnd`). */
export function capabilitiesOfMask(hex: string): Set<string> {
  const mask = BigInt(`0x${hex}`);
  return new Set(CAPABILITIES.filter((_, bit) => (mask >> BigInt(bit)) & 1n));
}

export interface HostCapabilities {
  /** All that the running kernel knows, in its order [F43]. */
  readonly known: readonly string[];
  /** Our own bounding set. */
  readonly bounding: ReadonlySet<string>;
}

/** Reads the kernel's last capability and our bounding set; two short reads of /proc. */
export function readHostCapabilities(): HostCapabilities {
  const last = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8'));
  const status = readFileSync('/proc/self/status', 'utf8');
  return {
    known: CAPABILITIES.slice(0, last + 1),
    bounding: capabilitiesOfMask(/^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'),
  };
}

export interface CapabilityRequest {
  readonly add: readonly string[];
  readonly drop: readonly string[];
  /** `default_capabilities` of the configuration. */
  readonly defaults: readonly string[];
}

/**
 * The set a container gets [F46, F47, G63–G65]: unless ALL is added or dropped the defaults follow the additions;
 * then, in this order, ALL added, ALL dropped, single additions, single drops. Unknown names fail with
 * CRI-O's texts.
 */
export function planCapabilities(request: CapabilityRequest, known: readonly string[]): string[] {
  const isAll = (name: string) => name.toUpperCase() === 'ALL' || name.toUpperCase() === 'CAP_ALL';
  const addAll = request.add.some(isAll);
  const dropAll = request.drop.some(isAll);
  const adds = [...request.add.filter((name) => !isAll(name)), ...(addAll || dropAll ? [] : request.defaults)];
  const set = new Set<string>(addAll && !dropAll ? known : []);
  for (const name of adds.map(capabilityName)) {
    if (!known.includes(name)) throw new Failure('Unknown', `unknown capability "${name}" to add`);
    set.add(name);
  }
  for (const name of request.drop.filter((n) => !isAll(n)).map(capabilityName)) {
    if (!CAPABILITIES.includes(name)) throw new Failure('Unknown', `failed to drop cap ${name} invalid capability: ${name}`);
    set.delete(name);
  }
  return [...set];
}
