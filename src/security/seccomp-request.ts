import { Failure, codeOf, textOf, wrap } from '../errors/index.ts';
import { defaultSeccompProfile } from './seccomp-default.ts';
import { loadSeccompProfile } from './seccomp-profile.ts';
import type { SeccompProfile } from './types.ts';

/** What a seccomp request resolved to [G20–G24]. */
export interface SeccompChoice {
  /** `RuntimeDefault`, `Unconfined`, a path, or empty: annotation SeccompProfilePath [P66]. */
  readonly reference: string;
  readonly profile: SeccompProfile | undefined;
}

export interface SeccompRequest {
  /** CRI's `seccomp`; profileType 0 RuntimeDefault, 1 Unconfined, 2 Localhost. */
  readonly field: { readonly profileType: number; readonly localhostRef: string } | undefined;
  /** CRI's deprecated `seccomp_profile_path`, read where the field is absent. */
  readonly deprecated: string;
  readonly privileged: boolean;
  readonly kind: 'container' | 'sandbox';
}

export interface SeccompSettings {
  /** Whether the kernel has it: `HostFacts.seccomp` [G1]. */
  readonly supported: boolean;
  /** The handler's profile, else the global one [G3, G20]. */
  readonly runtimeDefault: SeccompProfile;
  /** `privileged_seccomp_profile`; empty = none [G24]. */
  readonly privilegedProfile: string;
}

export interface LoadedSeccomp {
  readonly profile: SeccompProfile;
  /** To be logged at info. */
  readonly message: string;
}

/**
 * `seccomp_profile` of the configuration [G2]: empty or a missing file is the built-in profile, anything else
 * that cannot be read fails with `unable to load seccomp profile: …`.
 */
export async function loadDefaultSeccomp(path: string): Promise<LoadedSeccomp> {
  if (path === '') return { profile: defaultSeccompProfile(), message: 'Using the internal default seccomp profile' };
  try {
    return { profile: await loadSeccompProfile(path), message: `Successfully loaded seccomp profile "${path}"` };
  } catch (error) {
    if (codeOf(error) === 'ENOENT')
      return { profile: defaultSeccompProfile(), message: 'Seccomp profile does not exist on disk, fallback to internal default profile' };
    const step = codeOf(error) === undefined ? 'decoding seccomp profile failed' : 'open seccomp profile';
    throw wrap('unable to load seccomp profile', wrap(step, error));
  }
}

/** The profile of one container or sandbox; errors carry CRI-O's `setup seccomp: …`, an empty local name is one [G20–G25, a17]. */
export async function resolveSeccomp(request: SeccompRequest, settings: SeccompSettings): Promise<SeccompChoice> {
  const field = request.field ?? fieldOf(request.deprecated);
  if (!settings.supported) {
    if (request.kind === 'sandbox' && field?.profileType === 2)
      throw new Failure('FailedPrecondition', 'setup seccomp: seccomp is not enabled, cannot run with custom profile');
    return { reference: 'Unconfined', profile: undefined };
  }
  if (request.privileged) {
    if (request.kind === 'sandbox' || settings.privilegedProfile === '') return { reference: 'Unconfined', profile: undefined };
    return await localProfile(settings.privilegedProfile);
  }
  if (field === undefined) return { reference: '', profile: undefined };
  switch (field.profileType) {
    case 0:
      return { reference: 'RuntimeDefault', profile: settings.runtimeDefault };
    case 1:
      return { reference: 'Unconfined', profile: undefined };
    case 2:
      return await localProfile(field.localhostRef);
    default:
      throw new Failure('InvalidArgument', `setup seccomp: unknown seccomp profile type ${field.profileType}`);
  }
}

/** `runtime/default`, `docker/default`, `unconfined`, `localhost/<path>`: what kubelets sent before the field existed. */
function fieldOf(deprecated: string): SeccompRequest['field'] {
  if (deprecated === '') return undefined;
  if (deprecated === 'runtime/default' || deprecated === 'docker/default') return { profileType: 0, localhostRef: '' };
  if (deprecated === 'unconfined') return { profileType: 1, localhostRef: '' };
  if (deprecated.startsWith('localhost/')) return { profileType: 2, localhostRef: deprecated.slice('localhost/'.length) };
  throw new Failure('InvalidArgument', `setup seccomp: unknown seccomp profile option: "${deprecated}"`);
}

async function localProfile(path: string): Promise<SeccompChoice> {
  try {
    return { reference: path, profile: await loadSeccompProfile(path) };
  } catch (error) {
    if (codeOf(error) !== undefined) throw wrap('setup seccomp', wrap(`unable to load local profile "${path}"`, error));
    throw new Failure(
      'InvalidArgument',
      `setup seccomp: apply profile from bytes: load local profile: decoding seccomp profile failed: ${textOf(error)}`,
      { cause: error },
    );
  }
}
