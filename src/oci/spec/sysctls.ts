import type { IdMappings } from './input.ts';
import type { StringMap } from './request.ts';

export interface SysctlRequest {
  /** `default_sysctls`, parsed. */
  readonly defaults: StringMap;
  readonly requested: StringMap;
  readonly hostNetwork: boolean;
  readonly hostIpc: boolean;
  readonly idMappings: IdMappings | undefined;
}

export interface SysctlPlan {
  readonly sysctls: ReadonlyMap<string, string>;
  readonly warnings: readonly string[];
}

/**
 * The sysctls a pod gets: the configuration's, then CRI's over them; one that is not namespaced, or whose namespace is
 * the host's, is left out with a warning [D60–D62, G98–G101, a18, a19]. Names are dotted, each part a plain word:
 * what is not cannot be a file below /proc/sys, and neither can a value hold a line break or NUL.
 */
export function planSysctls(request: SysctlRequest): SysctlPlan {
  const sysctls = new Map<string, string>();
  const warnings: string[] = [];
  const add = (from: StringMap, by: string) => {
    for (const [key, value] of from) {
      const refusal = refuse(key, value, request);
      if (refusal === undefined) sysctls.set(key, forUserNamespace(key, value, request.idMappings));
      else warnings.push(`Skipping invalid sysctl specified ${by} {${key} ${value}}: ${refusal}`);
    }
  };
  add(request.defaults, 'by config');
  add(request.requested, 'over CRI');
  return { sysctls, warnings };
}

function refuse(key: string, value: string, request: SysctlRequest): string | undefined {
  if (!/^[A-Za-z0-9_./:@-]+$/.test(key) || key.split(/[./]/).includes('')) return `${key} not whitelisted`;
  const ipc = key === 'kernel.sem' || /^(kernel\.(shm|msg)|fs\.mqueue\.)/.test(key);
  const net = key.startsWith('net.');
  if (!ipc && !net) return `${key} not whitelisted`;
  if (ipc && request.hostIpc) return `"${key}" not allowed with host ipc enabled`;
  if (net && request.hostNetwork) return `"${key}" not allowed with host net enabled`;
  if (/[\0\n\r]/.test(value)) return `value of "${key}" holds a line break or NUL`;
  return undefined;
}

/** "All groups may ping" cannot be said with more groups than the namespace maps [D62]. */
function forUserNamespace(key: string, value: string, mappings: IdMappings | undefined): string {
  if (key !== 'net.ipv4.ping_group_range' || value !== '0 2147483647' || mappings === undefined) return value;
  const highest = Math.max(0, ...mappings.gids.map((gid) => gid.containerId + gid.length - 1));
  return `0 ${highest}`;
}
