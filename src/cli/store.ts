import { loadConfig, validateConfig } from '../config/index.ts';
import { Failure, textOf } from '../errors/index.ts';
import { createLogger } from '../log/index.ts';
import { Store, parseStorageOptions } from '../storage/index.ts';
import type { Context } from './command.ts';

/** The store that files, flags and environment name, for commands beside the daemon or instead of it. Opening may fail [A212]. */
export function storeOf({ env, globalFlags, terminal }: Pick<Context, 'env' | 'globalFlags' | 'terminal'>) {
  const loaded = loadConfig({ args: globalFlags, env });
  const { config } = validateConfig(loaded.config);
  const { root, runroot, imagestore, storageOption } = config.crio;
  const log = createLogger({ level: 'warning', filter: undefined, write: (line) => terminal.err.write(line) });
  const open = async (): Promise<Store> => {
    try {
      const options = { graphRoot: root, runRoot: runroot, imageStore: imagestore, ...parseStorageOptions(storageOption) };
      return await Store.open({ ...options, isDaemon: false, log });
    } catch (error) {
      const advice = error instanceof Failure ? error.advice : undefined;
      throw new Failure('Unknown', `unable to open storage: ${textOf(error)}`, {
        cause: error,
        ...(advice === undefined ? {} : { advice }),
      });
    }
  };
  return { config, root, open };
}
