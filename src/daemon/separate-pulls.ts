import type { Config } from '../config/index.ts';
import { Failure } from '../errors/index.ts';
import { type ImageSettings, SeparatePulls, type StorePlace } from '../images/index.ts';
import type { Logger } from '../log/index.ts';
import { type SystemdScopes, parseCgroupParent } from '../resources/index.ts';
import type { Store } from '../storage/index.ts';
import { UNPACK_THREADS } from './settings.ts';

interface Parts {
  readonly place: StorePlace;
  readonly store: Pick<Store, 'removeAbandoned'>;
  readonly settings: ImageSettings;
  readonly scopes: SystemdScopes | undefined;
  readonly log: Logger;
}

/** Pulls in the slice that `separate_pull_cgroup` names, or in the pod's own; undefined where it names none [I37, B83]. */
export function separatePulls({ runtime }: Config, { place, store, settings, scopes, log }: Parts): SeparatePulls | undefined {
  const wanted = runtime.separatePullCgroup;
  if (wanted === '') return undefined;
  return new SeparatePulls({
    store: place,
    settings,
    maxThreads: UNPACK_THREADS,
    sliceFor: (cgroupParent) => {
      if (scopes === undefined) throw onlySystemd();
      return sliceOf(wanted, cgroupParent);
    },
    place: async (pid, slice) => await scopes?.start({ unit: `crio-pull-image-${pid}.scope`, slice, pid, of: 'image pull' }),
    removeAbandoned: async () => await store.removeAbandoned(),
    log,
  });
}

/** A pod without a parent has its containers in system.slice, and its pulls too. */
function sliceOf(wanted: string, cgroupParent: string): string {
  if (wanted === 'pod') return parseCgroupParent('systemd', cgroupParent) || 'system.slice';
  if (wanted.endsWith('.slice')) return wanted;
  throw new Failure('InvalidArgument', `invalid systemd cgroup ${JSON.stringify(wanted)}`, {
    advice: 'Set separate_pull_cgroup to a slice, such as crio-pulls.slice, to pod, or to nothing.',
  });
}

function onlySystemd(): Failure {
  return new Failure('FailedPrecondition', '--separate-pull-cgroup is supported only with systemd', {
    advice: 'Set cgroup_manager to systemd, or separate_pull_cgroup to nothing.',
  });
}
