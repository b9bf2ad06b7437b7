export type { CniDns, CniInterface, CniIp, CniResult, CniRoute } from './cni/result.ts';
export type { NetworkSettings, PodNetwork, PortMapping, PortProtocol } from './pod.ts';
export type { NetworkStatus } from './readiness.ts';
export { type AttachedPod, type AttachOptions, NetworkService, type NetworkServiceOptions } from './service.ts';
