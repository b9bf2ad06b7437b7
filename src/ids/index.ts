export { type ContainerId, type HexId, type SandboxId, isHexId, newHexId } from './ids.ts';
export { type Digest, algorithmOf, hexOf, parseDigest, sha256 } from './digest.ts';
