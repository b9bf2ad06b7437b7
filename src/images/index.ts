export type {
  Image,
  ImageFsUsage,
  ImageHistory,
  ImageUser,
  OciImageConfig,
  PullMetrics,
  PullOptions,
  PullProgress,
  PullResult,
  RegistryAuth,
} from './image.ts';
export { parseImageUser } from './image-config.ts';
export { type ImageReference, familiarReference, formatReference, normaliseReference, repositoryOf } from './reference.ts';
export { ImageService, type ImageServiceOptions } from './service.ts';
export {
  type AuthFileSource,
  type HostEnvironment,
  type ImageSettings,
  type NetworkTimeouts,
  DEFAULT_TIMEOUTS,
  defaultImageSettings,
} from './settings.ts';
export type { ImageStore, Unpacker } from './store.ts';
