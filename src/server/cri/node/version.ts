import type { Handler } from '../rpc.ts';
import type { VersionRequest, VersionResponse } from '../../../wire/index.ts';

/** [D212] */
export function version(runtimeVersion: string): Handler<VersionRequest, VersionResponse> {
  return async () => ({ version: '0.1.0', runtimeName: 'cri-o', runtimeVersion, runtimeApiVersion: 'v1' });
}
