import type { Config } from '../config/index.ts';
import type { Logger } from '../log/index.ts';
import type { MonitorSettings, MonitorToPlace } from '../oci/monitor/index.ts';
import { SystemdScopes, monitorCgroup, placeMonitor } from '../resources/index.ts';
import { monitorSettings } from './settings.ts';

/** How monitors are started, and the connection to systemd where that places them. */
export function buildMonitors(
  config: Config,
  env: NodeJS.ProcessEnv,
  log: Logger,
): { readonly settings: MonitorSettings; readonly scopes: SystemdScopes | undefined; readonly close: () => Promise<void> } {
  const scopes = config.runtime.cgroupManager === 'systemd' ? new SystemdScopes(systemBusPath(env), log) : undefined;
  return { settings: monitorSettings(config, placement(config, scopes)), scopes, close: async () => await scopes?.close() };
}

/**
 * Where monitors go before they begin [K44–K48]. With systemd into a scope of their own, in the slice that monitor_cgroup names or in
 * the pod's: a restart of the daemon's unit then leaves them alone. With cgroupfs they stay in the daemon's cgroup, unless they
 * are to keep to the CPUs of infra_ctr_cpuset and monitor_cgroup is `pod`.
 */
function placement(config: Config, scopes: SystemdScopes | undefined): (monitor: MonitorToPlace) => Promise<void> {
  const { infraCtrCpuset } = config.runtime;
  return async ({ pid, id, cgroupsPath, monitorCgroup: wanted }) => {
    const cpuset = wanted === 'pod' ? infraCtrCpuset : '';
    if (scopes === undefined) {
      const path = monitorCgroup(cgroupsPath, id);
      if (cpuset !== '' && path !== undefined) placeMonitor(path, pid, cpuset);
      return;
    }
    await scopes.start({
      unit: `crio-conmon-${id}.scope`,
      slice: wanted.endsWith('.slice') ? wanted : sliceOf(cgroupsPath),
      pid,
      cpus: cpuset === '' ? undefined : cpusOf(cpuset),
      of: 'conmon',
    });
  };
}

/** `slice:crio:id`; a pod without a slice has its containers in this one. */
function sliceOf(cgroupsPath: string): string {
  const [slice = ''] = cgroupsPath.split(':');
  return slice === '' ? 'system.slice' : slice;
}

/** `0-2,5` → 0, 1, 2, 5; checked at the start. */
function cpusOf(list: string): number[] {
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, n) => first + n);
  });
}

/** Where D-Bus' specification says that the system bus is; an address of another kind than a path is not supported. */
function systemBusPath(env: NodeJS.ProcessEnv): string {
  return /^unix:path=([^,;]+)/.exec(env['DBUS_SYSTEM_BUS_ADDRESS'] ?? '')?.[1] ?? '/run/dbus/system_bus_socket';
}
