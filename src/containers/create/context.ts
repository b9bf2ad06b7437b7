import type { ImageService } from '../../images/index.ts';
import type { ContainerId } from '../../ids/index.ts';
import type { Logger } from '../../log/index.ts';
import type { MonitorSettings } from '../../oci/monitor/index.ts';
import type { OciRuntime, RuntimeHandler } from '../../oci/runtime/index.ts';
import type {
  ContainerConfig,
  ContainerMetadata,
  HostFacts,
  ImageSpec,
  PodSandboxConfig,
  PodSandboxMetadata,
  SandboxFacts,
  SpecSettings,
} from '../../oci/spec/index.ts';
import type { CgroupManagerName } from '../../resources/index.ts';
import type { SeccompSettings } from '../../security/index.ts';
import type { Store } from '../../storage/index.ts';
import type { PodOfContainer } from '../container.ts';
import type { ContainerContext } from '../context.ts';
import type { Creations } from '../creations.ts';

/** From the configuration: what a container gets besides what its request says. */
export interface CreationSettings {
  readonly cgroupManager: CgroupManagerName;
  readonly imageVolumes: 'mkdir' | 'bind' | 'ignore';
  readonly bindMountPrefix: string;
  readonly absentMountSourcesToReject: readonly string[];
  readonly defaultMountsFile: string;
  readonly timezone: string;
  readonly additionalDevices: readonly string[];
  readonly allowedDevices: readonly string[];
  readonly deviceOwnershipFromSecurityContext: boolean;
  readonly namespacesDir: string;
  /** The empty lower directory of image volumes [F91]. */
  readonly imageVolumesDir: string;
}

/** What creating a container works with. */
export interface CreationContext {
  readonly containers: ContainerContext;
  readonly store: Store;
  readonly images: ImageService;
  readonly settings: CreationSettings;
  readonly specSettings: SpecSettings;
  readonly monitorSettings: MonitorSettings;
  readonly host: HostFacts;
  readonly seccomp: (handler: RuntimeHandler) => SeccompSettings;
  readonly creations: Creations<ContainerId>;
  readonly log: Logger;
}

/** The pod as its containers see it. */
export interface PodForCreation extends PodOfContainer {
  readonly runtime: OciRuntime;
  /** As the pod's request named it. */
  readonly runtimeHandler: string;
  readonly logDirectory: string;
  /** Its requests name users and groups by the host's ids, which specs say by the pod's [F28]. */
  readonly namesHostIds: boolean;
  /** For the spec. */
  readonly specFacts: SandboxFacts;
}

/** A request whose required parts are there. */
export interface Creation {
  readonly config: ContainerConfig;
  readonly image: ImageSpec;
  readonly metadata: ContainerMetadata;
  readonly pod: PodSandboxConfig;
  readonly podMetadata: PodSandboxMetadata;
}
