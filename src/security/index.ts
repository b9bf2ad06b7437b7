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
export {
  CAPABILITIES,
  type CapabilityRequest,
  type HostCapabilities,
  capabilitiesOfMask,
  capabilityName,
  planCapabilities,
  readHostCapabilities,
} from './capabilities.ts';
export { type SeccompTarget, applySeccomp } from './seccomp.ts';
export { defaultSeccompProfile } from './seccomp-default.ts';
export { loadSeccompProfile, parseSeccompProfile } from './seccomp-profile.ts';
export {
  type LoadedSeccomp,
  type SeccompChoice,
  type SeccompRequest,
  type SeccompSettings,
  loadDefaultSeccomp,
  resolveSeccomp,
} from './seccomp-request.ts';
export { type ApparmorRequest, apparmorProfile, isApparmorEnabled } from './apparmor.ts';
export { type LabelRules, type SelinuxOptions, applyLabelRules, containerLabel, isSelinuxEnabled } from './selinux.ts';
