import { closeSync, openSync } from 'node:fs';
import { Failure, textOf } from '../../errors/index.ts';
import { idMapLack, readMounts } from '../../linux/index.ts';
import type { OciMount } from '../spec/index.ts';
import { mountOf } from './mounts.ts';

/**
 * Why a container with id-mapped volumes could not be created, if it is one of them: runtimes pass on the kernel's bare "invalid
 * argument" [p49]. Answers `error` itself where no volume is to blame. `userNamespace`: path of the pod's.
 */
export async function explainIdMaps(error: unknown, mounts: readonly OciMount[], userNamespace: string | undefined): Promise<unknown> {
  const mapped = mounts.filter(({ uidMappings }) => uidMappings !== undefined);
  if (userNamespace === undefined || mapped.length === 0) return error;
  const table = await readMounts();
  const namespace = openSync(userNamespace, 'r');
  try {
    for (const { source = '' } of mapped) {
      const lack = idMapLack(source, namespace);
      if (lack === undefined) continue;
      const { type } = mountOf(source, table);
      return new Failure(
        'FailedPrecondition',
        `the ids of volume "${source}" cannot be mapped: its file system is ${type}: ${textOf(lack)}`,
        {
          cause: error,
          advice: `${type} has no id-mapped mounts in this kernel. Put the volume on a file system that has them (ext4, xfs, btrfs since Linux 5.12 to 5.15, tmpfs since 6.3), or run the pod with hostUsers: true.`,
        },
      );
    }
    return error;
  } finally {
    closeSync(namespace);
  }
}
