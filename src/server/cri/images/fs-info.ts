import type { ImageService } from '../../../images/index.ts';
import type { ImageFsInfoRequest, ImageFsInfoResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

/** Images and containers share one file system [I79]. */
export function imageFsInfo(images: ImageService): Handler<ImageFsInfoRequest, ImageFsInfoResponse> {
  return async () => {
    const { timestampNs, mountpoint, usedBytes, inodesUsed } = await images.fsInfo();
    const usage = { timestamp: timestampNs, fsId: { mountpoint }, usedBytes: { value: usedBytes }, inodesUsed: { value: inodesUsed } };
    return { imageFilesystems: [usage], containerFilesystems: [usage] };
  };
}
