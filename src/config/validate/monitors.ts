/** The monitor of each handler of type oci: deprecated global keys, path, cgroup [B43–B45, B101, B102, K22–K27]. */
import { wrap } from '../../errors/index.ts';
import type { RuntimeConfig } from '../config.ts';
import type { RuntimeHandlerConfig } from '../schema/index.ts';
import { invalid, missing } from './check.ts';
import { lookPath, notInPath, statProblem } from './disk.ts';

const SYSTEM_SLICE = 'system.slice';

export interface MonitorOptions {
  readonly onExecution: boolean;
  /** $PATH */
  readonly path: string | undefined;
}

export function translateMonitors(runtime: RuntimeConfig, options: MonitorOptions): RuntimeConfig {
  const runtimes = new Map(runtime.runtimes);
  for (const [name, handler] of runtimes) {
    if (handler.runtimeType !== '' && handler.runtimeType !== 'oci') continue;
    try {
      runtimes.set(name, translate(runtime, name, handler, options));
    } catch (error) {
      throw wrap(`monitor fields translation: failed to translate monitor fields for runtime ${name}`, error);
    }
  }
  return { ...runtime, runtimes };
}

function translate(runtime: RuntimeConfig, name: string, handler: RuntimeHandlerConfig, options: MonitorOptions): RuntimeHandlerConfig {
  const systemd = runtime.cgroupManager === 'systemd';
  const given = runtime.conmonCgroup || handler.monitorCgroup;
  const translated = {
    ...handler,
    monitorPath: runtime.conmon || handler.monitorPath,
    monitorEnv: runtime.conmonEnv.length === 0 ? handler.monitorEnv : runtime.conmonEnv,
    monitorCgroup: systemd && given === '' ? SYSTEM_SLICE : given,
  };
  if (!options.onExecution) return translated;
  return {
    ...translated,
    monitorPath: monitorPath(name, translated.monitorPath, options.path),
    monitorCgroup: systemd ? systemdCgroup(name, translated.monitorCgroup) : cgroupfsCgroup(name, translated.monitorCgroup),
  };
}

function monitorPath(name: string, given: string, path: string | undefined): string {
  const advice = `Install conmon, or set monitor_path in [crio.runtime.runtimes.${name}].`;
  if (given === '') {
    const found = lookPath('conmon', path);
    if (found === undefined) throw missing(notInPath('conmon'), advice);
    return found;
  }
  const problem = statProblem(given);
  if (problem !== undefined) throw missing(`invalid conmon path: ${problem}`, advice);
  if (!given.startsWith('/')) throw invalid(`conmon path is not absolute: ${given}`, advice);
  return given;
}

function systemdCgroup(name: string, cgroup: string): string {
  if (cgroup === 'pod' || cgroup.endsWith('.slice')) return cgroup;
  throw invalid(
    "conmon cgroup should be 'pod' or a systemd slice",
    `Set monitor_cgroup in [crio.runtime.runtimes.${name}] to "pod" or to a name that ends in .slice.`,
  );
}

/** The default of the other manager is no mistake of the administrator's: it is read as empty [B102]. */
function cgroupfsCgroup(name: string, cgroup: string): string {
  if (cgroup === SYSTEM_SLICE) return '';
  if (cgroup === 'pod' || cgroup === '') return cgroup;
  throw invalid(
    `cgroupfs manager conmon cgroup should be 'pod' or empty, but got: '${cgroup}'`,
    `Set monitor_cgroup in [crio.runtime.runtimes.${name}] to "pod", or leave it out.`,
  );
}
