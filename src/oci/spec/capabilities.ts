import { CAPABILITIES, capabilityName, planCapabilities } from '../../security/index.ts';
import type { HostFacts, SpecSettings } from './input.ts';
import type { Capability } from './request.ts';
import type { OciCapabilities } from './types.ts';

export interface CapabilityInput {
  readonly privileged: boolean;
  readonly noNewPrivs: boolean;
  readonly request: Capability | undefined;
  readonly host: HostFacts;
  readonly settings: SpecSettings;
}

/**
 * `process.capabilities` [F43, F46–F48, G61–G67, a13]. What our own bounding set lacks is left out with a warning:
 * the runtime could not grant it and would fail.
 */
export function buildCapabilities(input: CapabilityInput, warnings: string[]): OciCapabilities {
  const { host, settings, request } = input;
  const wanted = input.privileged
    ? [...host.capabilities]
    : planCapabilities(
        {
          add: request?.addCapabilities ?? [],
          drop: request?.dropCapabilities ?? [],
          defaults: settings.defaultCapabilities.map(capabilityName),
        },
        host.capabilities,
      );
  const granted = wanted.filter((cap) => host.boundingSet.has(cap));
  const missing = wanted.filter((cap) => !host.boundingSet.has(cap) && CAPABILITIES.includes(cap));
  if (missing.length > 0) warnings.push(`The daemon may not grant ${missing.join(', ')}: left out of the container's capabilities`);
  if (input.noNewPrivs) warnAboutNoNewPrivs(input.privileged, granted, warnings);
  const set = () => [...granted];
  if (input.privileged) return { bounding: set(), effective: set(), inheritable: set(), permitted: set(), ambient: set() };
  if (granted.length === 0) return {};
  return {
    bounding: set(),
    effective: set(),
    ...(settings.addInheritableCapabilities ? { inheritable: set() } : {}),
    permitted: set(),
  };
}

function warnAboutNoNewPrivs(privileged: boolean, granted: readonly string[], warnings: string[]): void {
  const useless = 'Setting `noNewPrivileges` flag has no effect because container';
  if (privileged) warnings.push(`${useless} is privileged`);
  if (granted.includes('CAP_SYS_ADMIN')) warnings.push(`${useless} has CAP_SYS_ADMIN capability`);
}
