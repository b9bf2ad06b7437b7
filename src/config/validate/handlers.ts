/** The table of handlers on the machine: paths, types, defaults [B91–B113, K4–K16]. */
import { Failure, kindOf, textOf } from '../../errors/index.ts';
import type { RuntimeConfig } from '../config.ts';
import { DEFAULT_RUNTIME, type RuntimeHandlerConfig } from '../schema/index.ts';
import { parseSize } from '../schema/index.ts';
import { checkAllowedAnnotations } from './annotations.ts';
import { type Message, invalid, missing } from './check.ts';
import { lookPath, notInPath, seccompProblem, statProblem } from './disk.ts';

const DEFAULT_MIN_MEMORY = 12 * 1024 * 1024;
const DEFAULT_CREATE_TIMEOUT = 240;
const LEAST_CREATE_TIMEOUT = 30;

const SHIM_NAME = /^containerd-shim-[a-zA-Z0-9\-+]+$/;

type Handlers = ReadonlyMap<string, RuntimeHandlerConfig>;

/**
 * The handlers that can be used, with paths looked up and defaults filled in. An invalid one costs a warning, an
 * invalid default one is a Failure [B113, K10].
 */
export function validateHandlers(runtime: RuntimeConfig, path: string | undefined, messages: Message[]): Handlers {
  const handlers = inherit(runtime, path, messages);
  const valid = new Map<string, RuntimeHandlerConfig>();
  for (const [name, handler] of handlers) {
    try {
      valid.set(name, validateHandler(name, handler, path, messages));
    } catch (error) {
      if (name === runtime.defaultRuntime) throw withAlternatives(error, name, runtime, path);
      messages.push({ level: 'warning', text: `Runtime handler "${name}" is being ignored due to: ${textOf(error)}` });
    }
  }
  return valid;
}

/** Path, type, configuration and root of the default handler for those that ask for it [B97, K9]. */
function inherit(runtime: RuntimeConfig, path: string | undefined, messages: Message[]): Handlers {
  const source = runtime.runtimes.get(runtime.defaultRuntime);
  const handlers = new Map(runtime.runtimes);
  for (const [name, handler] of handlers) {
    if (!handler.inheritDefaultRuntime || source === undefined) continue;
    messages.push({ level: 'info', text: `Inheriting runtime configuration "${name}" from "${runtime.defaultRuntime}"` });
    const { runtimeType, runtimeConfigPath, runtimeRoot } = source;
    const runtimePath = source.runtimePath || (lookPath(runtime.defaultRuntime, path) ?? '');
    handlers.set(name, { ...handler, runtimePath, runtimeType, runtimeConfigPath, runtimeRoot });
  }
  return handlers;
}

function validateHandler(name: string, handler: RuntimeHandlerConfig, path: string | undefined, messages: Message[]): RuntimeHandlerConfig {
  const table = `[crio.runtime.runtimes.${name}]`;
  const type = handler.runtimeType;
  if (!['', 'oci', 'vm', 'pod'].includes(type)) {
    throw invalid(`invalid \`runtime_type\` "${type}" for runtime "${name}"`, `Set runtime_type in ${table} to "oci", "vm" or "pod".`);
  }
  const runtimePath = runtimePathOf(name, handler, path);
  checkConfigPath(name, handler);
  checkAllowedAnnotations(handler.allowedAnnotations);
  const containerMinMemory = minMemoryOf(name, handler, messages);
  const containerCreateTimeout = createTimeoutOf(name, handler, messages);
  if (handler.noSyncLog) {
    if (type !== '' && type !== 'oci') {
      throw invalid(
        `no sync log: no_sync_log is only allowed with runtime type 'oci', runtime type is '${type}'`,
        `Take no_sync_log out of ${table}.`,
      );
    }
    messages.push({ level: 'warning', text: 'NoSyncLog is enabled. This can lead to lost log data' });
  }
  if (handler.streamWebsockets && type !== 'pod') {
    throw invalid(
      `websocket streaming: only the 'runtime_type = "pod"' supports websocket streaming, not "${type}" (runtime "${name}")`,
      `Take stream_websockets out of ${table}.`,
    );
  }
  if (!['', 'first'].includes(handler.execCpuAffinity)) {
    throw invalid(
      `invalid exec_cpu_affinity "${handler.execCpuAffinity}"`,
      `Set exec_cpu_affinity in ${table} to "first", or leave it out.`,
    );
  }
  const seccomp = handler.seccompProfile === '' ? undefined : seccompProblem(handler.seccompProfile);
  if (seccomp !== undefined) {
    throw missing(`unable to load runtime handler seccomp profile: ${seccomp}`, `Correct seccomp_profile in ${table}, or the file.`);
  }
  return { ...handler, runtimePath, containerMinMemory, containerCreateTimeout };
}

/** [B92, B96, K6, K7] */
function runtimePathOf(name: string, handler: RuntimeHandlerConfig, path: string | undefined): string {
  const advice = `Install it, or set runtime_path in [crio.runtime.runtimes.${name}].`;
  const found = handler.runtimePath || lookPath(name, path);
  if (found === undefined) throw missing(`"${name}" not found in $PATH: ${notInPath(name)}`, advice);
  const problem = handler.runtimePath === '' ? undefined : statProblem(found);
  if (problem !== undefined) throw missing(`invalid runtime_path for runtime '${name}': ${problem}`, advice);
  if (handler.runtimeType === 'vm' && !SHIM_NAME.test(found.slice(found.lastIndexOf('/') + 1))) {
    throw invalid(
      `invalid runtime_path for runtime '${name}': containerd binary naming pattern is not followed`,
      'The file of a runtime of type vm is named containerd-shim-NAME-v2.',
    );
  }
  return found;
}

/** [B95, K8] */
function checkConfigPath(name: string, handler: RuntimeHandlerConfig): void {
  if (handler.runtimeConfigPath === '') return;
  const advice = `Correct runtime_config_path in [crio.runtime.runtimes.${name}], or take it out.`;
  if (handler.runtimeType !== 'vm') throw invalid("runtime_config_path can only be used with the 'vm' runtime type", advice);
  const problem = statProblem(handler.runtimeConfigPath);
  if (problem !== undefined) throw missing(`invalid runtime_config_path for runtime '${name}': ${problem}`, advice);
}

/** [B107, K11] */
function minMemoryOf(name: string, handler: RuntimeHandlerConfig, messages: Message[]): string {
  if (handler.containerMinMemory === '') return '12MiB';
  const size = parseSize(handler.containerMinMemory);
  if (!('problem' in size)) return handler.containerMinMemory;
  const why = `unable to set runtime memory to "${handler.containerMinMemory}": ${size.problem}. Setting to ${DEFAULT_MIN_MEMORY} instead`;
  messages.push({ level: 'error', text: `Unable to set minimum container memory for runtime handler "${name}": ${why}` });
  return '12MiB';
}

/** Seconds [B112, K12]. */
function createTimeoutOf(name: string, handler: RuntimeHandlerConfig, messages: Message[]): number {
  const seconds = handler.containerCreateTimeout;
  if (seconds === 0) return DEFAULT_CREATE_TIMEOUT;
  if (seconds >= LEAST_CREATE_TIMEOUT) return seconds;
  const least = `${LEAST_CREATE_TIMEOUT} seconds`;
  messages.push({
    level: 'warning',
    text: `Runtime handler "${name}" container create timeout (${seconds} seconds) is less than minimum (${least}), setting to minimum: ${least}`,
  });
  return LEAST_CREATE_TIMEOUT;
}

/** The error of a default handler that cannot be used; where a program is missing, with the runtime that is there instead. */
function withAlternatives(error: unknown, name: string, runtime: RuntimeConfig, path: string | undefined): unknown {
  if (kindOf(error) !== 'FailedPrecondition') return error;
  const usable = [...runtime.runtimes].find(
    ([other, handler]) => other !== name && lookPath(handler.runtimePath || other, path) !== undefined,
  )?.[0];
  const installed = usable ?? ['crun', 'runc'].find((other) => other !== name && lookPath(other, path) !== undefined);
  if (installed === undefined) return error;
  const handlers = usable === undefined ? ` and add a table [crio.runtime.runtimes.${installed}]` : '';
  return new Failure('FailedPrecondition', textOf(error), {
    cause: error,
    advice: `Install ${name}; or, as ${installed} is installed, set default_runtime = "${installed}" in [crio.runtime]${handlers}.`,
  });
}

/** [B37, K4]; an empty name is crun, with its built-in table where none is given. */
export function checkDefaultRuntime(runtime: RuntimeConfig, builtIn: RuntimeHandlerConfig): RuntimeConfig {
  const name = runtime.defaultRuntime;
  if (runtime.runtimes.has(name)) return runtime;
  if (name !== '') {
    throw invalid(
      `default_runtime set to "${name}", but no runtime entry table [crio.runtime.runtimes.${name}] was found`,
      `Add the table, or set default_runtime to one of: ${[...runtime.runtimes.keys()].join(', ')}.`,
    );
  }
  const runtimes = runtime.runtimes.has(DEFAULT_RUNTIME) ? runtime.runtimes : new Map([...runtime.runtimes, [DEFAULT_RUNTIME, builtIn]]);
  return { ...runtime, defaultRuntime: DEFAULT_RUNTIME, runtimes };
}
