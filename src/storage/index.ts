export type {
  BigDataItem,
  ContainerRecord,
  IdMapping,
  ImageRecord,
  Json,
  LayerContent,
  LayerRecord,
  LayerToCommit,
  MountRequest,
  NewContainer,
  NewImage,
  StagedLayer,
} from './types.ts';
