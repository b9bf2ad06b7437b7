export { type Resolver, parseResolvConf } from './dns.ts';
export type { PodFacts } from './env.ts';
export { parseManifest } from './parse.ts';
export { type MountSources, type NodeFacts, containerConfig, pullPolicyOf, sandboxConfig } from './requests.ts';
export type { Pod, PodContainer, PodVolume } from './schema.ts';
export { checkNonRoot } from './security.ts';
