import { Failure } from '../../../errors/index.ts';
import type { ImageService } from '../../../images/index.ts';
import type { PullImageRequest, PullImageResponse } from '../../../wire/index.ts';
import type { PullBoard } from '../../inspect/pulls.ts';
import type { Handler } from '../rpc.ts';

/** Answers the image's id [I1]; auth and namespace are the request's [I3, I4]. */
export function pullImage(images: ImageService, board: PullBoard): Handler<PullImageRequest, PullImageResponse> {
  return async ({ image, auth, sandboxConfig }, rpc) => {
    if (image === undefined || image.image === '') throw new Failure('InvalidArgument', 'no image specified');
    const { onProgress, end } = board.begin(image.image);
    const pull = images.pull(image.image, {
      signal: rpc.signal,
      onProgress,
      namespace: sandboxConfig?.metadata?.namespace ?? '',
      cgroupParent: sandboxConfig?.linux?.cgroupParent ?? '',
      ...(auth === undefined ? {} : { auth }),
    });
    const { imageRef } = await pull.finally(end);
    return { imageRef };
  };
}
