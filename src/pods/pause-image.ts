import { kindOf, textOf } from '../errors/index.ts';
import type { Image } from '../images/index.ts';
import type { PodContext } from './context.ts';

/** The image that every pod's record stands on [D41, I83]: pulled when it is not there. */
export async function ensurePauseImage(ctx: PodContext): Promise<Image> {
  const name = ctx.settings.pauseImage;
  const present = await ctx.images.find(name);
  if (present !== undefined) return present;
  ctx.log.info(`Pause image ${name} not found, pulling it`);
  const { imageId } = await ctx.images.pull(name, {});
  const pulled = await ctx.images.find(imageId);
  if (pulled === undefined) throw new Error(`pause image ${name} vanished after its pull: ${kindOf(undefined)} ${textOf('')}`);
  return pulled;
}
