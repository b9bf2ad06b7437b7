export { SeparatePulls, type StorePlace } from './apart/index.ts';
export type { ArtifactFile } from './artifacts.ts';
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
export { forgetOneTimeAuth } from './namespaced-auth.ts';
export type { ImageReference } from './reference.ts';
export { ImageService, type ImageServiceOptions } from './service.ts';
export { type AuthFileSource, type HostEnvironment, type ImageSettings, type NetworkTimeouts, defaultImageSettings } from './settings.ts';
export type { ImageStore, Unpacker } from './store.ts';
