import { type RuntimeHandlerConfig, parseSize } from '../config/index.ts';
import { Failure, textOf } from '../errors/index.ts';
import { recursiveAttributesLack } from '../linux/index.ts';
import type { Logger } from '../log/index.ts';
import {
  OciRuntime,
  type RuntimeFeatures,
  type RuntimeHandler,
  RuntimePrograms,
  RuntimeTable,
  probeFeatures,
} from '../oci/runtime/index.ts';

/** The root of a handler that names none, whatever its binary is [K3]. */
const DEFAULT_ROOT = '/run/crun';

/** Validated handlers become runtimes; their features are asked side by side [K17]. */
export async function buildRuntimes(
  handlers: ReadonlyMap<string, RuntimeHandlerConfig>,
  defaultName: string,
  systemdCgroup: boolean,
  log: Logger,
): Promise<RuntimeTable> {
  const programs = new RuntimePrograms();
  const runtimes = await Promise.all(
    drivable(handlers, defaultName, log).map(
      async ([name, handler]) => new OciRuntime(await toHandler(name, handler, programs, log), systemdCgroup),
    ),
  );
  return new RuntimeTable(runtimes, defaultName);
}

async function toHandler(name: string, config: RuntimeHandlerConfig, programs: RuntimePrograms, log: Logger): Promise<RuntimeHandler> {
  const env = { PATH: process.env['PATH'] ?? '' };
  return {
    name,
    path: config.runtimePath,
    programs,
    platformPaths: config.platformRuntimePaths,
    root: config.runtimeRoot === '' ? DEFAULT_ROOT : config.runtimeRoot,
    type: config.runtimeType === 'vm' || config.runtimeType === 'pod' ? config.runtimeType : 'oci',
    monitorEnv: config.monitorEnv,
    monitorPath: config.monitorPath,
    monitorCgroup: config.monitorCgroup,
    createTimeout: config.containerCreateTimeout,
    execCpuAffinity: config.execCpuAffinity,
    minMemory: minMemory(config.containerMinMemory),
    noSyncLog: config.noSyncLog,
    privilegedWithoutHostDevices: config.privilegedWithoutHostDevices,
    allowedAnnotations: config.allowedAnnotations,
    defaultAnnotations: config.defaultAnnotations,
    seccompProfile: config.seccompProfile,
    features: withoutWhatTheKernelLacks(name, await probeFeatures(config.runtimePath, programs, env, log), log),
  };
}

/** [B115, K18] */
function withoutWhatTheKernelLacks(name: string, features: RuntimeFeatures, log: Logger): RuntimeFeatures {
  if (!features.recursiveReadOnly) return features;
  const lack = recursiveAttributesLack();
  if (lack === undefined) return features;
  log.warn(`Runtime handler "${name}" supports Recursive Read-only (RRO) mounts, but kernel does not: ${textOf(lack)}`);
  return { ...features, recursiveReadOnly: false };
}

/** Bytes; validateConfig left nothing in it that is no size [K11]. */
function minMemory(text: string): bigint {
  const size = parseSize(text);
  if ('problem' in size) throw new Failure('InvalidArgument', size.problem);
  return BigInt(size.bytes);
}

/** Types whose driver is not built are not driven as something else: dropped with a warning, as a handler without a binary is. */
function drivable(handlers: ReadonlyMap<string, RuntimeHandlerConfig>, defaultName: string, log: Logger): [string, RuntimeHandlerConfig][] {
  return [...handlers].filter(([name, { runtimeType }]) => {
    if (runtimeType === '' || runtimeType === 'oci') return true;
    const text = `runtime_type "${runtimeType}" of runtime handler "${name}" is not supported yet`;
    if (name === defaultName) throw new Failure('Unimplemented', text, { advice: 'Set default_runtime to a handler of type oci.' });
    log.warn(`Runtime handler "${name}" is being ignored due to: ${text}`);
    return false;
  });
}
