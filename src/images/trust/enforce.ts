import { Failure, textOf, wrap } from '../../errors/index.ts';
import type { Digest } from '../../ids/index.ts';
import { type ImageReference, formatReference } from '../reference.ts';
import { verifiedText } from './gpg.ts';
import { fits } from './identity.ts';
import { type SignedClaim, parsePayload } from './payload.ts';
import { type Policy, requirementsFor } from './policy.ts';
import type { IdentityRule, Requirement } from './requirements.ts';
import type { Signature } from './signatures.ts';
import { verifiedPayload } from './sigstore.ts';

/** Code of the failure that says that the policy refused the image: the kubelet is told by a prefix [I6]. */
export const POLICY_REFUSAL = 'POLICY_REFUSAL';

/** An image as a policy judges it. */
export interface Candidate {
  /** The name under which it is wanted, not the one that a mirror has for it. */
  readonly reference: ImageReference;
  /** Of its manifest. */
  readonly digest: Digest;
  readonly signatures: readonly Signature[];
}

/** Fails where no signature whatever can help: such an image is not even asked for. */
export function refuseRejected(policy: Policy, reference: ImageReference): void {
  for (const { type } of requirementsFor(policy, reference))
    if (type === 'reject' || type === 'signedBaseLayer') throw hopeless(type, reference);
}

/** Whether any requirement for the image looks at signatures. */
export function wantsSignatures(policy: Policy, reference: ImageReference): boolean {
  return requirementsFor(policy, reference).some(({ type }) => type !== 'insecureAcceptAnything');
}

/** Fails where the policy does not let this image run: each requirement must be fulfilled, by one signature at least [I6, I31]. */
export async function enforcePolicy(policy: Policy, candidate: Candidate, signal?: AbortSignal): Promise<void> {
  for (const requirement of requirementsFor(policy, candidate.reference)) await fulfil(requirement, candidate, signal);
}

async function fulfil(requirement: Requirement, candidate: Candidate, signal: AbortSignal | undefined): Promise<void> {
  switch (requirement.type) {
    case 'insecureAcceptAnything':
      return;
    case 'reject':
    case 'signedBaseLayer':
      throw hopeless(requirement.type, candidate.reference);
    case 'signedBy':
      return await oneOf(candidate, 'simple', signal, async (signature) => {
        if (signature.kind !== 'simple') return;
        const text = await verifiedText(signature.message, requirement.keys, signal);
        check(parsePayload(text, 'simple signing'), candidate, requirement.identity);
      });
    case 'sigstoreSigned':
      return await oneOf(candidate, 'sigstore', signal, async (signature) => {
        if (signature.kind !== 'sigstore') return;
        const payload = await verifiedPayload(signature, requirement.trust, requirement.rekor);
        check(parsePayload(payload, 'sigstore'), candidate, requirement.identity);
      });
    default:
      return requirement satisfies never;
  }
}

/** One signature of the kind that passes is enough; else the refusal says what was wrong with each [I31]. */
async function oneOf(
  { signatures }: Candidate,
  kind: Signature['kind'],
  signal: AbortSignal | undefined,
  verify: (signature: Signature) => Promise<void>,
): Promise<void> {
  const reasons: unknown[] = [];
  for (const signature of signatures.filter((other) => other.kind === kind)) {
    try {
      return await verify(signature);
    } catch (error) {
      signal?.throwIfAborted();
      reasons.push(error);
    }
  }
  if (reasons.length === 0) throw rejected('A signature was required, but no signature exists', undefined);
  if (reasons.length === 1) throw rejected(textOf(reasons[0]), reasons[0]);
  throw rejected(`None of the signatures were accepted, reasons: ${reasons.map(textOf).join('; ')}`, reasons[0]);
}

/** That a verified signature is about this image. */
function check(claim: SignedClaim, { reference, digest }: Candidate, rule: IdentityRule): void {
  if (!fits(rule, reference, claim.reference))
    throw new Failure('PermissionDenied', `Signature for identity ${JSON.stringify(claim.reference)} is not accepted`);
  if (claim.digest !== digest) throw new Failure('PermissionDenied', `Signature for digest ${claim.digest} does not match`);
}

function hopeless(type: 'reject' | 'signedBaseLayer', reference: ImageReference): Failure {
  if (type === 'signedBaseLayer') return rejected('signedBaseLayer not implemented yet!', undefined);
  return rejected(`Running image docker://${formatReference(reference)} is rejected by policy.`, undefined);
}

function rejected(why: string, cause: unknown): Failure {
  const advice = cause === undefined ? undefined : wrap('', cause).advice;
  return new Failure('PermissionDenied', why, {
    code: POLICY_REFUSAL,
    cause,
    advice:
      advice ??
      'Look at the scope in policy.json (containers-policy.json(5)) that matches this image, and at registries.d for where its signatures lie.',
  });
}
