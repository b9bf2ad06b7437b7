import { existsSync } from 'node:fs';
import { type Failure, codeOf, wrap } from '../../errors/index.ts';
import { type RuntimeConfig, defaultHandler } from '../config.ts';
import { type Message, invalid, missing } from './check.ts';
import { parseDevice } from './devices.ts';
import { deviceProblem, isDirectory, makeDirectory, makeNamespaceDirectories } from './disk.ts';
import { checkDefaultRuntime, validateHandlers } from './handlers.ts';
import { cpusetProblem, parseCapabilities, parseSysctls, parseUlimits } from './limits.ts';
import { type MonitorOptions, translateMonitors } from './monitors.ts';
import { checkWorkloads } from './workloads.ts';

/** Least size of a log that conmon can write: its buffer. */
const LEAST_LOG_SIZE = 8192;
const LEAST_STOP_TIMEOUT = 30;
/** An error's level for what works: CRI-O wants it to be seen [B73]. */
const DEPRECATED_MAPPINGS =
  "Configuration options 'uid_mappings' and 'gid_mappings' are deprecated, and will be replaced with native Kubernetes support for user namespaces in the future";

/** `[crio.runtime]`, in the order of CRI-O's checks [B188]. */
export function validateRuntime(given: RuntimeConfig, options: MonitorOptions, messages: Message[]): RuntimeConfig {
  checkNumbersAndPaths(given);
  parseUlimits(given.defaultUlimits);
  for (const item of given.additionalDevices) checkDevice(item, options.onExecution);
  let runtime = checkDefaultRuntime(given, defaultHandler());
  checkTimezone(runtime.timezone);
  if (runtime.logSizeMax >= 0 && runtime.logSizeMax < LEAST_LOG_SIZE) {
    throw invalid(`log size max should be negative or >= ${LEAST_LOG_SIZE}`, 'Set log_size_max to -1 for no limit.');
  }
  if (runtime.ctrStopTimeout < LEAST_STOP_TIMEOUT) {
    runtime = { ...runtime, ctrStopTimeout: LEAST_STOP_TIMEOUT };
    messages.push({ level: 'warning', text: `Forcing ctr_stop_timeout to lowest possible value of ${LEAST_STOP_TIMEOUT}s` });
  }
  within('invalid default_sysctls', () => parseSysctls(runtime.defaultSysctls));
  const capabilities = parseCapabilities(runtime.defaultCapabilities);
  messages.push({ level: 'info', text: `Using default capabilities: ${capabilities.join(', ')}` });
  const cpus = cpusetProblem(runtime.infraCtrCpuset);
  if (cpus !== undefined) throw invalid(`invalid infra_ctr_cpuset: ${cpus}`, 'Write CPUs as 0-1,3.');
  within('workloads validation', () => checkWorkloads(runtime.workloads));
  if (runtime.uidMappings !== '' && runtime.gidMappings !== '') messages.push({ level: 'error', text: DEPRECATED_MAPPINGS });
  if (options.onExecution) runtime = validateOnExecution(runtime, options.path, messages);
  return translateMonitors(runtime, options);
}

function checkNumbersAndPaths(runtime: RuntimeConfig): void {
  if (runtime.minInjectedGomaxprocs < 0) {
    throw invalid(
      `min_injected_gomaxprocs must be >= 0, got ${runtime.minInjectedGomaxprocs}`,
      'Set min_injected_gomaxprocs to 0 to turn it off.',
    );
  }
  const relative = runtime.additionalArtifactStores.find((store) => !store.startsWith('/'));
  if (relative !== undefined)
    throw invalid(`additional_artifact_stores entry must be absolute: "${relative}"`, 'Write the path from the root on.');
}

function checkDevice(item: string, onExecution: boolean): void {
  const device = parseDevice(item);
  const problem = device === undefined || !onExecution ? undefined : deviceProblem(device.hostPath);
  if (device === undefined || problem === undefined) return;
  throw missing(
    `${device.hostPath} is not a valid device: ${problem}`,
    'Take it out of additional_devices, or load the module that makes it.',
  );
}

/** An IANA name or `Local`, whatever its case [B90]. */
function checkTimezone(timezone: string): void {
  if (timezone === '' || timezone.toLowerCase() === 'local') return;
  try {
    if (/^[+-]/.test(timezone)) throw new RangeError('an offset is no name');
    new Intl.DateTimeFormat('en', { timeZone: timezone });
  } catch {
    if (!timezone.split('/').includes('..') && existsSync(`/usr/share/zoneinfo/${timezone}`)) return;
    throw invalid(`invalid timezone: ${timezone}`, 'Write a name such as Europe/Berlin, or Local.');
  }
}

function validateOnExecution(runtime: RuntimeConfig, path: string | undefined, messages: Message[]): RuntimeConfig {
  if (!['systemd', 'cgroupfs'].includes(runtime.cgroupManager)) {
    throw invalid(
      `unable to update cgroup manager: invalid cgroup manager: ${runtime.cgroupManager}`,
      'Set cgroup_manager to "systemd" or "cgroupfs".',
    );
  }
  const runtimes = within('runtime validation', () => validateHandlers(runtime, path, messages));
  const hooksDir = runtime.hooksDir.filter((directory) => usableHooksDirectory(directory, messages));
  for (const removed of makeNamespaceDirectories(runtime.namespacesDir)) {
    messages.push({ level: 'info', text: `Removed file ${removed} to create directory in that path.` });
  }
  return { ...runtime, runtimes, hooksDir };
}

/** Made where it is missing, left out where that fails [B46]. */
function usableHooksDirectory(directory: string, messages: Message[]): boolean {
  const found = isDirectory(directory);
  if (found === false) {
    messages.push({ level: 'warning', text: `Skipping invalid hooks directory: ${directory} exists but is not a directory` });
    return false;
  }
  try {
    if (found === undefined) makeDirectory(directory, 0o755, 'hooks_dir', 'hooks_dir');
    return true;
  } catch (error) {
    messages.push({ level: 'debug', text: `Failed to create requested hooks dir: ${codeOf(error) ?? directory}` });
    return false;
  }
}

function within<T>(prefix: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    const failure: Failure = wrap(prefix, error);
    throw failure;
  }
}
