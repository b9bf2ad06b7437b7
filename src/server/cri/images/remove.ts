import { Failure } from '../../../errors/index.ts';
import type { ImageService } from '../../../images/index.ts';
import type { RemoveImageRequest, RemoveImageResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

/** [I74, I75] */
export function removeImage(images: ImageService): Handler<RemoveImageRequest, RemoveImageResponse> {
  return async ({ image }) => {
    if (image === undefined || image.image === '') throw new Failure('InvalidArgument', 'no image specified');
    await images.remove(image.image);
    return {};
  };
}
