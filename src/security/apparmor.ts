import { existsSync, readFileSync } from 'node:fs';
import { Failure } from '../errors/index.ts';

const ENABLED = '/sys/module/apparmor/parameters/enabled';

/** The kernel has it on and its parser is installed [G36]. */
export function isApparmorEnabled(path: string = process.env['PATH'] ?? ''): boolean {
  try {
    if (!readFileSync(ENABLED, 'utf8').startsWith('Y')) return false;
  } catch {
    return false; // No such module: not this kernel.
  }
  return ['/sbin', ...path.split(':')].some((directory) => directory !== '' && existsSync(`${directory}/apparmor_parser`));
}

export interface ApparmorRequest {
  /** CRI's `apparmor`; profileType 0 RuntimeDefault, 1 Unconfined, 2 Localhost. */
  readonly field: { readonly profileType: number; readonly localhostRef: string } | undefined;
  /** CRI's deprecated `apparmor_profile`. */
  readonly deprecated: string;
  readonly containerId: string;
  /** `apparmor_profile` of the configuration. */
  readonly defaultProfile: string;
}

/**
 * `process.apparmorProfile` of an unprivileged container where AppArmor is on [F55, G40–G42]. The deprecated field's
 * `runtime/default` wins over what the new one says [G41].
 */
export function apparmorProfile(request: ApparmorRequest): string {
  const { field, deprecated } = request;
  const old = deprecated.toLowerCase();
  if (old === 'runtime/default' || field?.profileType === 0 || (field === undefined && old === '')) return request.defaultProfile;
  if (field?.profileType === 1 || (field === undefined && old === 'unconfined')) return 'unconfined';
  const reference = field === undefined ? deprecated : field.localhostRef;
  const name = reference.startsWith('localhost/') ? reference.slice('localhost/'.length) : reference;
  if (name === '')
    throw new Failure(
      'Unknown',
      `applying apparmor profile to container ${request.containerId}: empty localhost AppArmor profile is forbidden`,
    );
  return name;
}
