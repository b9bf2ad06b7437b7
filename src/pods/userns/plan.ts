import { Failure } from '../../errors/index.ts';
import {
  type IdMappings,
  type LinuxSandboxSecurityContext,
  NamespaceMode,
  type StringMap,
  annotationValue,
  checkIdMappings,
} from '../../oci/spec/index.ts';
import type { AutoIdMap } from '../../storage/index.ts';
import { type UsernsSettings, parseUsernsMode } from './mode.ts';

const ANNOTATION = 'userns-mode.crio.io';

/** The ids of a pod with a user namespace of its own: known, or to be chosen when its record is made. */
export type UsernsPlan = { readonly mappings: IdMappings } | { readonly auto: AutoIdMap };

/**
 * Whether a pod gets a user namespace, and with which ids [D83–D89, G84–G91]: CRI's options decide, else the annotation, else
 * the configuration.
 */
export function planUserns(
  security: LinuxSandboxSecurityContext | undefined,
  annotations: StringMap,
  settings: UsernsSettings,
): UsernsPlan | undefined {
  const plan = wanted(security, annotations, settings);
  if (plan !== undefined && 'mappings' in plan) checkIdMappings(plan.mappings);
  return plan;
}

function wanted(
  security: LinuxSandboxSecurityContext | undefined,
  annotations: StringMap,
  settings: UsernsSettings,
): UsernsPlan | undefined {
  const options = security?.namespaceOptions?.usernsOptions;
  if (options !== undefined) {
    if (options.mode === NamespaceMode.NODE) return undefined;
    if (options.mode === NamespaceMode.POD) return { mappings: { uids: options.uids, gids: options.gids } };
    throw new Failure('InvalidArgument', `unsupported pod mode: "${modeName(options.mode)}"`);
  }
  const mode = annotationValue(annotations, ANNOTATION) ?? '';
  if (mode !== '') return parseUsernsMode(mode, security, settings);
  return settings.mappings === undefined ? undefined : { mappings: settings.mappings };
}

function modeName(mode: number): string {
  return Object.entries(NamespaceMode).find(([, value]) => value === mode)?.[0] ?? String(mode);
}

/** The warning of each pod whose deprecated annotation counts [P11]. */
export function annotationWarning(security: LinuxSandboxSecurityContext | undefined, annotations: StringMap): string | undefined {
  if (!isFromAnnotation(security, annotations)) return undefined;
  return "Annotation 'io.kubernetes.cri-o.userns-mode' is deprecated, and will be replaced with native Kubernetes support for user namespaces in the future";
}

/** Ids in such a pod's requests are the host's, and are translated for its specs, unless all pods have configured ids [F28]. */
export function namesHostIds(
  security: Pick<LinuxSandboxSecurityContext, 'namespaceOptions'> | undefined,
  annotations: StringMap,
  settings: UsernsSettings,
): boolean {
  return settings.mappings === undefined && isFromAnnotation(security, annotations);
}

function isFromAnnotation(security: Pick<LinuxSandboxSecurityContext, 'namespaceOptions'> | undefined, annotations: StringMap): boolean {
  return security?.namespaceOptions?.usernsOptions === undefined && (annotationValue(annotations, ANNOTATION) ?? '') !== '';
}
