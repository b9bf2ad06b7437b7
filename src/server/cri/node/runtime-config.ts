import {
  CgroupDriver,
  type RuntimeConfigRequest,
  type RuntimeConfigResponse,
  type UpdateRuntimeConfigRequest,
  type UpdateRuntimeConfigResponse,
} from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

/** [D217] */
export function runtimeConfig(cgroupManager: 'systemd' | 'cgroupfs'): Handler<RuntimeConfigRequest, RuntimeConfigResponse> {
  return async () => ({ linux: { cgroupDriver: cgroupManager === 'systemd' ? CgroupDriver.SYSTEMD : CgroupDriver.CGROUPFS } });
}

/** The pod CIDR is accepted and ignored: CNI's configuration decides [D218]. */
export function updateRuntimeConfig(): Handler<UpdateRuntimeConfigRequest, UpdateRuntimeConfigResponse> {
  return async () => ({});
}
