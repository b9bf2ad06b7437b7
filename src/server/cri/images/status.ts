import { Failure } from '../../../errors/index.ts';
import type { Image, ImageService } from '../../../images/index.ts';
import type { ImageStatusRequest, ImageStatusResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';
import { wireImage } from './list.ts';

/** An image that is not there is an empty answer [I70]. */
export function imageStatus(images: ImageService): Handler<ImageStatusRequest, ImageStatusResponse> {
  return async ({ image, verbose }) => {
    if (image === undefined || image.image === '') throw new Failure('InvalidArgument', 'no image specified');
    const any = await images.findAny(image.image);
    if (any === undefined) return {};
    const { image: found, isArtifact } = any;
    const told = { ...wireImage(found, found.repoDigests), spec: { annotations: found.annotations } };
    return { image: told, info: verbose && !isArtifact ? new Map([['info', verboseInfo(found)]]) : new Map() };
  };
}

/** [I73] */
function verboseInfo(image: Image): string {
  const labels = Object.fromEntries(image.config.labels);
  const head = Object.keys(labels).length === 0 ? '' : `"labels":${JSON.stringify(labels)},`;
  return `{${head}"imageSpec":${image.rawConfig}}`;
}
