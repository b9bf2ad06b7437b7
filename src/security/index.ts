export type {
  Architecture,
  LinuxSeccomp,
  LinuxSyscall,
  LinuxSyscallArg,
  SeccompArch,
  SeccompCondition,
  SeccompProfile,
  SeccompRule,
} from './types.ts';
