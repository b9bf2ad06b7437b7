export type {
  Image,
  ImageFsUsage,
  ImageHistory,
  ImageUser,
  OciImageConfig,
  PullOptions,
  PullProgress,
  PullResult,
  RegistryAuth,
} from './image.ts';
export {
  type AuthFileSource,
  type HostEnvironment,
  type ImageSettings,
  type NetworkTimeouts,
  DEFAULT_TIMEOUTS,
  defaultImageSettings,
} from './settings.ts';
