import type { Image, ImageService } from '../../../images/index.ts';
import type { Image as WireImage, ListImagesRequest, ListImagesResponse, MessageInput } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

/** All, or the one that the filter's name means [I64, I65]. */
export function listImages(images: ImageService): Handler<ListImagesRequest, ListImagesResponse> {
  return async ({ filter }) => {
    const name = filter?.image?.image ?? '';
    if (name === '') return { images: (await images.listAll()).map((image) => wireImage(image, image.listRepoDigests)) };
    return { images: (await images.listNamed(name)).map((image) => wireImage(image, image.listRepoDigests)) };
  };
}

/** [I66–I68]; an image's annotations are told by its status alone. */
export function wireImage(image: Image, repoDigests: readonly string[]): MessageInput<WireImage> {
  const { uid, username } = image.user;
  return {
    id: image.id,
    repoTags: image.repoTags,
    repoDigests,
    size: image.size,
    uid: uid === undefined ? undefined : { value: BigInt(uid) },
    username: username ?? '',
    pinned: image.pinned,
  };
}
