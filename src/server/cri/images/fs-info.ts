import type { ImageFsUsage, ImageService } from '../../../images/index.ts';
import type { ImageFsInfoRequest, ImageFsInfoResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

/** Images and containers share one file system [I79], unless images have a store of their own [I80]. */
export function imageFsInfo(images: ImageService): Handler<ImageFsInfoRequest, ImageFsInfoResponse> {
  return async () => {
    const { images: image, containers } = await images.fsInfo();
    return { imageFilesystems: [usageOf(image)], containerFilesystems: [usageOf(containers)] };
  };
}

function usageOf({ timestampNs, mountpoint, usedBytes, inodesUsed }: ImageFsUsage) {
  return { timestamp: timestampNs, fsId: { mountpoint }, usedBytes: { value: usedBytes }, inodesUsed: { value: inodesUsed } };
}
