export { type SignatureSource, collectSignatures } from './collect.ts';
export { type Candidate, POLICY_REFUSAL, enforcePolicy, refuseRejected, wantsSignatures } from './enforce.ts';
export { type Policy, type PolicyPaths, loadPolicy, loadPolicyOfUse, pathElement } from './policy.ts';
export { type Signature, encodeSignature, splitStored } from './signatures.ts';
