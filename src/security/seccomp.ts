import type { Architecture, LinuxSeccomp, LinuxSyscall, SeccompCondition, SeccompProfile } from './types.ts';

/** libseccomp's names of the architectures that an archMap entry is looked up by [G18]; others get no list. */
const NATIVE: Readonly<Partial<Record<Architecture, string>>> = {
  amd64: 'SCMP_ARCH_X86_64',
  arm64: 'SCMP_ARCH_AARCH64',
  mips64le: 'SCMP_ARCH_MIPSEL64',
  s390x: 'SCMP_ARCH_S390X',
};

export interface SeccompTarget {
  readonly architecture: Architecture;
  /** `6.1.0-13-amd64` */
  readonly kernelVersion: string;
  /** The bounding set of the process. */
  readonly capabilities: ReadonlySet<string>;
}

/**
 * `linux.seccomp` of one container: the rules whose conditions fit its capabilities and the architecture [G18].
 * Undefined for a profile without default action and rules [G19]. A rule that repeats an earlier one is left out.
 */
export function applySeccomp(profile: SeccompProfile, target: SeccompTarget): LinuxSeccomp | undefined {
  if (profile.defaultAction === '' && profile.syscalls.length === 0) return undefined;
  const architectures = architecturesOf(profile, target.architecture);
  const syscalls: LinuxSyscall[] = [];
  const seen = new Set<string>();
  for (const rule of profile.syscalls) {
    if (excluded(rule.excludes, target) || !included(rule.includes, target)) continue;
    const effect = JSON.stringify([rule.action, rule.errnoRet, rule.args], (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v));
    const names = rule.names.filter((name) => !seen.has(`${name}\0${effect}`));
    for (const name of names) seen.add(`${name}\0${effect}`);
    if (names.length === 0) continue;
    syscalls.push({
      names,
      action: rule.action,
      ...(rule.errnoRet === undefined ? {} : { errnoRet: rule.errnoRet }),
      ...(rule.args.length === 0 ? {} : { args: rule.args.map((arg) => ({ ...arg })) }),
    });
  }
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    ...(architectures.length === 0 ? {} : { architectures }),
    ...(profile.flags.length === 0 ? {} : { flags: [...profile.flags] }),
    ...(profile.listenerPath === undefined ? {} : { listenerPath: profile.listenerPath }),
    ...(profile.listenerMetadata === undefined ? {} : { listenerMetadata: profile.listenerMetadata }),
    ...(syscalls.length === 0 ? {} : { syscalls }),
  };
}

function architecturesOf(profile: SeccompProfile, native: Architecture): string[] {
  if (profile.architectures !== undefined) return [...profile.architectures];
  const entry = profile.archMap?.find((candidate) => candidate.architecture === NATIVE[native]);
  return entry === undefined ? [] : [entry.architecture, ...entry.subArchitectures];
}

function excluded(condition: SeccompCondition, target: SeccompTarget): boolean {
  if (condition.arches.includes(target.architecture)) return true;
  if (condition.caps.some((cap) => target.capabilities.has(cap))) return true;
  return condition.minKernel !== undefined && atLeast(target.kernelVersion, condition.minKernel);
}

function included(condition: SeccompCondition, target: SeccompTarget): boolean {
  if (condition.arches.length > 0 && !condition.arches.includes(target.architecture)) return false;
  if (condition.minKernel !== undefined && !atLeast(target.kernelVersion, condition.minKernel)) return false;
  return condition.caps.every((cap) => target.capabilities.has(cap));
}

/** Compares `major.minor` of two kernel versions. */
export function atLeast(version: string, wanted: string): boolean {
  const [major = 0, minor = 0] = version.split('.', 2).map(leadingNumber);
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.', 2).map(leadingNumber);
  return major !== wantedMajor ? major > wantedMajor : minor >= wantedMinor;
}

function leadingNumber(text: string): number {
  return Number(/^\d{1,9}/.exec(text)?.[0] ?? 0);
}
