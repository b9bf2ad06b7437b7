import { connect } from 'node:net';
import { loadConfig, validateConfig } from '../config/index.ts';
import { Failure, adviceOf, textOf } from '../errors/index.ts';
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
      const advice = adviceOf(error);
      throw new Failure('Unknown', `unable to open storage: ${textOf(error)}`, {
        cause: error,
        ...(advice === undefined ? {} : { advice }),
      });
    }
  };
  return { config, root, open };
}

/** Fails while a daemon answers on a socket: what it works with would be taken away under it. */
export async function refuseBesideDaemon(socket: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = connect(socket);
  probe.once('connect', () => resolve(true));
  probe.once('error', () => resolve(false));
  const answers = await promise;
  probe.destroy();
  if (!answers) return;
  throw new Failure('FailedPrecondition', `a daemon is running on ${socket}: its storage is not wiped under it`, {
    advice: 'Stop it first: systemctl stop crio.',
  });
}
