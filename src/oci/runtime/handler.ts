import type { RuntimeFacts } from '../spec/index.ts';
import type { RuntimePrograms } from './programs.ts';

/** What a runtime handler of `[crio.runtime.runtimes.NAME]` comes down to once its defaults are filled in [K1]. */
export interface RuntimeHandler {
  readonly name: string;
  /** Absolute path of the OCI runtime. */
  readonly path: string;
  /** What is executed for its binaries; shared by all handlers. */
  readonly programs: RuntimePrograms;
  /** Other binaries by the image's `os/architecture` [K19]. */
  readonly platformPaths: ReadonlyMap<string, string>;
  /** Its state directory (`--root`). */
  readonly root: string;
  readonly type: 'oci' | 'vm' | 'pod';
  /** `key=value` words for the monitor and the runtime. */
  readonly monitorEnv: readonly string[];
  readonly monitorPath: string;
  /** `pod`, a slice, or empty: where its monitors run [K44, K48]. */
  readonly monitorCgroup: string;
  /** Seconds that creating a container may take [K12]. */
  readonly createTimeout: number;
  /** Empty or `first` [K15]. */
  readonly execCpuAffinity: string;
  /** Bytes [K11]. */
  readonly minMemory: bigint;
  readonly noSyncLog: boolean;
  readonly privilegedWithoutHostDevices: boolean;
  readonly allowedAnnotations: readonly string[];
  readonly defaultAnnotations: ReadonlyMap<string, string>;
  /** Path of a seccomp profile, or empty. */
  readonly seccompProfile: string;
  readonly features: RuntimeFeatures;
}

/** From `<runtime> features` [K17, K18]: what a spec depends on, and what Status tells. A runtime without that command has none. */
export type RuntimeFeatures = RuntimeFacts;

export const NO_FEATURES: RuntimeFeatures = {
  ociVersionMin: undefined,
  ociVersionMax: undefined,
  recursiveReadOnly: false,
  idmapMounts: false,
  mountOptions: undefined,
  unsafeAnnotations: [],
};
