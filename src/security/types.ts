/** OCI `linux.seccomp` [G18]. */
export interface LinuxSeccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: string[];
  flags?: string[];
  listenerPath?: string;
  listenerMetadata?: string;
  syscalls?: LinuxSyscall[];
}

export interface LinuxSyscall {
  names: string[];
  action: string;
  errnoRet?: number;
  args?: LinuxSyscallArg[];
}

export interface LinuxSyscallArg {
  index: number;
  value: number | bigint;
  valueTwo?: number | bigint;
  op: string;
}

/** Go's names, as image configurations and seccomp profiles use them. */
export type Architecture = 'amd64' | 'arm64' | 'arm' | '386' | 'ppc64le' | 's390x' | 'riscv64' | 'loong64' | 'mips64le';

/**
 * A seccomp profile in containers' form (docker's with archMap, includes and excludes), parsed and checked [G17].
 * Which of its rules a container gets depends on its capabilities and the architecture: `applySeccomp`.
 */
export interface SeccompProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number | undefined;
  /** OCI names, taken as they are; or undefined when `archMap` decides. */
  readonly architectures?: readonly string[] | undefined;
  readonly archMap?: readonly SeccompArch[] | undefined;
  readonly flags: readonly string[];
  readonly listenerPath?: string | undefined;
  readonly listenerMetadata?: string | undefined;
  readonly syscalls: readonly SeccompRule[];
}

export interface SeccompArch {
  readonly architecture: string;
  readonly subArchitectures: readonly string[];
}

export interface SeccompRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number | undefined;
  readonly args: readonly LinuxSyscallArg[];
  readonly includes: SeccompCondition;
  readonly excludes: SeccompCondition;
}

export interface SeccompCondition {
  readonly caps: readonly string[];
  readonly arches: readonly string[];
  /** `4.8`: the kernel must be at least this [docker's form]. */
  readonly minKernel?: string | undefined;
}
