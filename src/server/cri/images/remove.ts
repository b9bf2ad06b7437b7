import type { ContainerRegistry } from '../../../containers/index.ts';
import { Failure } from '../../../errors/index.ts';
import type { ImageService } from '../../../images/index.ts';
import type { RemoveImageRequest, RemoveImageResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

/** [I74, I75]; an image that some container, even a stopped one, has as a volume stays, whatever name is given [I76]. */
export function removeImage(images: ImageService, containers: ContainerRegistry): Handler<RemoveImageRequest, RemoveImageResponse> {
  return async ({ image }) => {
    if (image === undefined || image.image === '') throw new Failure('InvalidArgument', 'no image specified');
    const found = (await images.findAny(image.image))?.image;
    const user = containers
      .list()
      .find(({ facts }) => facts.mounts.some((mount) => found !== undefined && mount.image?.image === found.id));
    if (user !== undefined)
      throw new Failure('FailedPrecondition', `the image is in use by ${user.id}`, {
        code: 'IMAGE_IN_USE',
        advice: 'The container has it as a volume: remove the container first.',
      });
    await images.remove(image.image);
    return {};
  };
}
