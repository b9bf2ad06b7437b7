import type { RuntimeHandlerConfig } from '../config/index.ts';
import { parseSize } from '../config/index.ts';
import type { Logger } from '../log/index.ts';
import { OciRuntime, type RuntimeHandler, RuntimeTable, probeFeatures } from '../oci/runtime/index.ts';

/** Bytes of the least memory limit of a handler that names none [K11]. */
const DEFAULT_MIN_MEMORY = 12n * 1024n * 1024n;
const DEFAULT_CREATE_TIMEOUT = 240;
const LEAST_CREATE_TIMEOUT = 30;
/** The root of a handler that names none, whatever its binary is [K3]. */
const DEFAULT_ROOT = '/run/crun';

/** Validated handlers become runtimes; their features are asked side by side [K17]. */
export async function buildRuntimes(
  handlers: ReadonlyMap<string, RuntimeHandlerConfig>,
  defaultName: string,
  systemdCgroup: boolean,
  log: Logger,
): Promise<RuntimeTable> {
  const runtimes = await Promise.all(
    [...handlers].map(async ([name, handler]) => new OciRuntime(await toHandler(name, handler, log), systemdCgroup)),
  );
  return new RuntimeTable(runtimes, defaultName);
}

async function toHandler(name: string, config: RuntimeHandlerConfig, log: Logger): Promise<RuntimeHandler> {
  const env = { PATH: process.env['PATH'] ?? '' };
  return {
    name,
    path: config.runtimePath,
    root: config.runtimeRoot === '' ? DEFAULT_ROOT : config.runtimeRoot,
    type: config.runtimeType === 'vm' || config.runtimeType === 'pod' ? config.runtimeType : 'oci',
    monitorEnv: config.monitorEnv,
    monitorPath: config.monitorPath,
    createTimeout: createTimeout(name, Number(config.containerCreateTimeout), log),
    minMemory: minMemory(config.containerMinMemory, log),
    noSyncLog: config.noSyncLog,
    privilegedWithoutHostDevices: config.privilegedWithoutHostDevices,
    allowedAnnotations: config.allowedAnnotations,
    defaultAnnotations: config.defaultAnnotations,
    seccompProfile: config.seccompProfile,
    features: await probeFeatures(config.runtimePath, env, log),
  };
}

/** [K12] */
function createTimeout(name: string, seconds: number, log: Logger): number {
  if (seconds === 0) return DEFAULT_CREATE_TIMEOUT;
  if (seconds >= LEAST_CREATE_TIMEOUT) return seconds;
  log.warn(`Runtime handler "${name}": container_create_timeout ${seconds} is below the least of ${LEAST_CREATE_TIMEOUT} s, taking that`);
  return LEAST_CREATE_TIMEOUT;
}

/** [K11] */
function minMemory(text: string, log: Logger): bigint {
  if (text === '') return DEFAULT_MIN_MEMORY;
  const size = parseSize(text);
  if (!('problem' in size)) return BigInt(size.bytes);
  log.error(`unable to set runtime memory to "${text}": ${size.problem}. Setting to ${DEFAULT_MIN_MEMORY} instead`);
  return DEFAULT_MIN_MEMORY;
}
