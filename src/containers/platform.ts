import type { OciRuntime } from '../oci/runtime/index.ts';
import type { OciSpec } from '../oci/spec/index.ts';

/** The runtime's binary for create, exec and update of a container, by the platform of its image [K19]. */
export function runtimePath(spec: OciSpec, runtime: OciRuntime): string {
  return runtime.rememberedPath(spec.annotations['platform-runtime-path.crio.io']);
}
