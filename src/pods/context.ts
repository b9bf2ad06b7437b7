import type { ContainerContext, CreationContext, Creations, Journal } from '../containers/index.ts';
import type { HostFacts, SpecSettings, StringMap } from '../oci/spec/index.ts';
import type { Image, ImageService } from '../images/index.ts';
import type { NamespaceMaker } from '../linux/index.ts';
import type { Logger } from '../log/index.ts';
import type { NetworkService } from '../network/index.ts';
import type { MonitorSettings } from '../oci/monitor/index.ts';
import type { RuntimeHandler, RuntimeTable } from '../oci/runtime/index.ts';
import type { SeccompSettings } from '../security/index.ts';
import type { LayerUnpacker, Store } from '../storage/index.ts';
import type { Tracer } from '../steps/index.ts';
import type { Flights } from '../sync/index.ts';
import type { SandboxId } from '../ids/index.ts';
import type { SandboxRegistry } from './registry.ts';
import type { Sandbox } from './sandbox.ts';
import type { UsernsSettings } from './userns/index.ts';

export interface PodSettings {
  /** Pods without a log directory of their own log below it [D44]. */
  readonly logDir: string;
  /** Pins lie in its `netns`, `ipcns`, `utsns`, `userns` [D64]. */
  readonly namespacesDir: string;
  readonly pauseImage: string;
  readonly pauseCommand: string;
  readonly dropInfraCtr: boolean;
  /** `default_sysctls`. */
  readonly defaultSysctls: StringMap;
  readonly cgroupManager: 'systemd' | 'cgroupfs';
  /** CPUs that containers may share, as the kernel writes lists of them [D193]. */
  readonly sharedCpuset: string;
  readonly userns: UsernsSettings;
}

export type PodEvent = 'started' | 'stopped' | 'deleted';

/** What every verb of a pod works with: built once by the daemon. */
export interface PodContext {
  readonly settings: PodSettings;
  readonly specSettings: SpecSettings;
  readonly monitorSettings: MonitorSettings;
  readonly host: HostFacts;
  readonly store: Store;
  readonly images: ImageService;
  readonly unpacker: LayerUnpacker;
  /** One pull of the pause image for all pods that wait for it. */
  readonly pausePulls: Flights<'pause', Image>;
  readonly network: NetworkService;
  readonly namespaces: NamespaceMaker;
  readonly runtimes: RuntimeTable;
  readonly seccomp: (handler: RuntimeHandler) => SeccompSettings;
  readonly containers: ContainerContext;
  readonly containerCreation: CreationContext;
  readonly registry: SandboxRegistry;
  readonly journal: Journal;
  readonly creations: Creations<SandboxId>;
  readonly tracer: Tracer;
  readonly log: Logger;
  /** Told after the fact; must not throw. */
  readonly onEvent: (event: PodEvent, sandbox: Sandbox) => void;
}
