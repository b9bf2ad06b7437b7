/** The rules that single values have to keep, with CRI-O's texts [B13, B188]. */
import { wrap } from '../../errors/index.ts';
import type { Config } from '../config.ts';
import type { Environment } from '../flags.ts';
import { type Message, invalid } from './check.ts';
import { validateRuntime } from './runtime.ts';
import { checkStats, validateApi, validateCheckpoint, validateImage, validateNetwork, validateRoot } from './tables.ts';

export type { Message };

export interface ValidateOptions {
  /**
   * Whether the machine is looked at as well: programs and files have to be there, directories are made.
   * Without it nothing is touched, as for `crio config` [A183].
   */
  readonly onExecution?: boolean;
  /** For $PATH; only with onExecution. */
  readonly env?: Environment;
}

export interface ValidatedConfig {
  /** With deprecated keys translated, defaults filled in, unusable handlers left out. */
  readonly config: Config;
  readonly messages: readonly Message[];
}

/** Throws Failure, `validating <section> config: …`, for the first rule that is broken. */
export function validateConfig(config: Config, options: ValidateOptions = {}): ValidatedConfig {
  const onExecution = options.onExecution ?? false;
  const path = options.env?.['PATH'];
  const messages: Message[] = [];
  if (!['mkdir', 'bind', 'ignore'].includes(config.image.imageVolumes)) {
    throw invalid('unrecognized image volume type specified', 'Set image_volumes in [crio.image] to "mkdir", "bind" or "ignore".');
  }
  const crio = section('root', () => validateRoot(config.crio, onExecution));
  const runtime = section('runtime', () => validateRuntime(config.runtime, { onExecution, path }, messages));
  const checkpointRestore = section('checkpoint/restore', () =>
    validateCheckpoint(config.checkpointRestore, config.runtime.enableCriuSupport, path, onExecution, messages),
  );
  const image = section('image', () => validateImage(config.image, onExecution));
  const network = section('network', () => validateNetwork(config.network, onExecution, messages));
  const api = section('api', () => validateApi(config.api, messages));
  section('stats', () => checkStats(config.stats));
  return { config: { ...config, crio, runtime, checkpointRestore, image, network, api }, messages };
}

function section<T>(name: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    throw wrap(`validating ${name} config`, error);
  }
}
export { type Ulimit, parseSysctls, parseUlimits } from './limits.ts';
