/** `default_ulimits`, `default_sysctls`, capabilities: texts into values, errors in CRI-O's words. */
import { invalid } from './check.ts';

export interface Ulimit {
  /** `RLIMIT_NOFILE` */
  readonly name: string;
  /** -1 in the file is 2^64 - 1 here: unlimited. */
  readonly soft: bigint;
  readonly hard: bigint;
}

const ULIMITS = 'core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(' ');

/** `name=soft[:hard]` [B53]. */
export function parseUlimits(items: readonly string[]): readonly Ulimit[] {
  return items.map((item) => {
    const fail = (why: string) =>
      invalid(`unrecognized ulimit ${item}: ${why}`, 'Write default_ulimits as name=soft:hard, for example nofile=1024:2048.');
    const equals = item.indexOf('=');
    if (equals < 0) throw fail(`invalid ulimit argument: ${item}`);
    const name = item.slice(0, equals);
    if (!ULIMITS.includes(name)) throw fail(`invalid ulimit type: ${name}`);
    const limits = item.slice(equals + 1).split(':');
    if (limits.length > 2) throw fail(`too many limit value arguments - ${limits.join(':')}, can only have up to two, \`soft[:hard]\``);
    const [soft = 0n, hard = soft] = limits
      .toReversed()
      .map((text) => {
        const value = /^[+-]?\d+$/.test(text) ? BigInt(text.replace('+', '')) : undefined;
        if (value === undefined) throw fail(`strconv.ParseInt: parsing "${text}": invalid syntax`);
        if (BigInt.asIntN(64, value) !== value) throw fail(`strconv.ParseInt: parsing "${text}": value out of range`);
        return value;
      })
      .toReversed();
    if (hard !== -1n && (soft === -1n || soft > hard)) {
      const comparison = soft === -1n ? `soft: -1 (unlimited), hard: ${hard}` : `${soft} > ${hard}`;
      throw fail(`ulimit soft limit must be less than or equal to hard limit: ${comparison}`);
    }
    return { name: `RLIMIT_${name.toUpperCase()}`, soft: BigInt.asUintN(64, soft), hard: BigInt.asUintN(64, hard) };
  });
}

/** `key=value` without blanks; empty items are skipped [B51]. */
export function parseSysctls(items: readonly string[]): ReadonlyMap<string, string> {
  const sysctls = new Map<string, string>();
  for (const item of items) {
    if (item === '') continue;
    const equals = item.indexOf('=');
    const advice = 'Write default_sysctls as key=value, for example net.ipv4.ping_group_range=0 0.';
    if (equals < 0) throw invalid(`"${item}" is not in key=value format`, advice);
    const key = item.slice(0, equals);
    const value = item.slice(equals + 1);
    if (key !== key.trim() || value !== value.trim()) {
      throw invalid(`'${item}' is invalid, extra spaces found: format should be key=value`, advice);
    }
    sysctls.set(key, value);
  }
  return sysctls;
}

const CAPABILITIES = (
  'AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID ' +
  'IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW ' +
  'PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO ' +
  'SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM'
).split(' ');

/** Names without CAP_, in any case, as `CAP_…` [B47]. */
export function parseCapabilities(names: readonly string[]): readonly string[] {
  return names.map((name) => {
    const upper = name.toUpperCase();
    if (CAPABILITIES.includes(upper)) return `CAP_${upper}`;
    const bare = upper.replace(/^CAP_/, '');
    throw invalid(
      `invalid capabilities: validating capabilities: "CAP_${upper}": unknown capability`,
      CAPABILITIES.includes(bare) ? `Write ${bare}, without CAP_.` : 'capabilities(7) lists the names; write them without CAP_.',
    );
  });
}

/** Why a list of CPUs such as `0-3,8` cannot be read, or undefined [B84, B121]. */
export function cpusetProblem(text: string): string | undefined {
  if (text === '') return undefined;
  for (const range of text.split(',')) {
    const dash = range.indexOf('-');
    const ends = dash < 0 ? [range] : [range.slice(0, dash), range.slice(dash + 1)];
    const wrong = ends.find((end) => !/^\d{1,6}$/.test(end));
    if (wrong !== undefined) return `strconv.Atoi: parsing "${wrong}": invalid syntax`;
    const [first = 0, last = first] = ends.map(Number);
    if (first > last) return `invalid range "${range}" (${first} > ${last})`;
  }
  return undefined;
}
