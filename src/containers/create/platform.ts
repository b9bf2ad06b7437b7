import { Failure } from '../../errors/index.ts';
import { openRoot } from '../../linux/index.ts';
import { executes, executesMachine } from '../../oci/host/index.ts';
import { machineOfProgram } from '../../oci/rootfs/index.ts';
import type { OciSpec } from '../../oci/spec/index.ts';
import type { Creation, CreationContext, PodForCreation } from './context.ts';
import type { Storage } from './image.ts';

/**
 * Refuses a container whose image is for another platform, in a sentence; of itself it would say one line in its log, `exec format
 * error` (p53). Images are often labelled wrongly and run all the same: so the program that it starts has the last word.
 */
export function checkPlatform(
  ctx: CreationContext,
  { runtime }: PodForCreation,
  creation: Creation,
  storage: Storage,
  spec: OciSpec,
): void {
  const { config } = storage.image;
  const platform = `${config.os || 'linux'}/${config.architecture}`;
  const own = ctx.host.architecture;
  if (runtime.handler.platformPaths.has(platform) || executes(config, own)) return;
  using root = openRoot(storage.rootfs);
  const machine = machineOfProgram(root.fd, spec.process);
  if (machine !== undefined && executesMachine(machine, own)) {
    ctx.log.warn(`Image ${creation.image.image} says that it is made for ${platform}, but its ${spec.process.args[0]} is not`);
    return;
  }
  const name = creation.image.userSpecifiedImage || creation.image.image;
  throw new Failure('FailedPrecondition', `image "${name}" is made for ${platform}, this node is linux/${own}: exec format error`, {
    advice: `Use an image for linux/${own}, register an emulator (binfmt_misc) or name a runtime for ${platform} in platform_runtime_paths.`,
  });
}
