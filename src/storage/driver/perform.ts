import { closeSync, constants, openSync } from 'node:fs';
import { codeOf, Failure } from '../../errors/index.ts';
import { mount, mountByParameters } from '../../linux/index.ts';
import { type MountPlan, dataString } from '../mount-plan.ts';

/** O_PATH, which node:fs does not name. */
const O_PATH = 0o10000000;

/**
 * Mounts as planned: by mount(2) where its one page of data is enough, else one parameter at a time, and on a kernel
 * that cannot do that for lower directories (before 6.8) by short names of them [J25].
 */
export function performMount(plan: MountPlan): void {
  if (plan.data !== undefined) {
    mount('overlay', plan.target, 'overlay', plan.flags, plan.data);
    return;
  }
  try {
    mountParameters(plan);
  } catch (error) {
    if (codeOf(error) !== 'EINVAL' && codeOf(error) !== 'ENOSYS') throw error;
    mountByDescriptors(plan);
  }
}

function mountParameters(plan: MountPlan): void {
  const parameters: (readonly [string, string | undefined])[] = plan.lowers.map((lower) => ['lowerdir+', lower]);
  if (plan.upper !== undefined) parameters.push(...Object.entries(plan.upper));
  mountByParameters('overlay', plan.target, plan.flags, [...parameters, ...plan.parameters]);
}

/** `/proc/self/fd/N` for each directory: some 200 layers fit into a page, whatever their paths are. */
export function mountByDescriptors(plan: MountPlan): void {
  const descriptors: number[] = [];
  const short = (path: string) => {
    const fd = openSync(path, O_PATH | constants.O_DIRECTORY);
    descriptors.push(fd);
    return `/proc/self/fd/${fd}`;
  };
  try {
    const lowers = plan.lowers.map(short);
    const upper = plan.upper === undefined ? undefined : { upperdir: short(plan.upper.upperdir), workdir: short(plan.upper.workdir) };
    const data = dataString({ ...plan, lowers, upper });
    if (data === undefined)
      throw new Failure('FailedPrecondition', `${lowers.length} layers are more than this kernel can mount at once`, {
        advice: 'Use Linux 6.8 or newer, or an image with fewer layers.',
      });
    mount('overlay', plan.target, 'overlay', plan.flags, data);
  } finally {
    for (const fd of descriptors) closeSync(fd);
  }
}
