import { Failure } from '../errors/index.ts';
import type { ContainerMetadata, PodSandboxMetadata } from '../oci/spec/index.ts';

/** `k8s_<pod>_<namespace>_<uid>_<attempt>` [D4]; fails as CRI-O for a part that is missing [D34]. */
export function podName(metadata: PodSandboxMetadata): string {
  const prefix = 'setting pod sandbox name and id: cannot generate pod name without';
  if (metadata.namespace === '') throw new Failure('InvalidArgument', `${prefix} namespace`);
  if (metadata.name === '') throw new Failure('InvalidArgument', `${prefix} name in metadata`);
  if (metadata.uid === '') throw new Failure('InvalidArgument', `${prefix} uid in metadata`);
  return ['k8s', metadata.name, metadata.namespace, metadata.uid, metadata.attempt].join('_');
}

/** `k8s_POD_<pod>_<namespace>_<uid>_<attempt>` [D5] */
export function infraName(metadata: PodSandboxMetadata): string {
  return ['k8s', 'POD', metadata.name, metadata.namespace, metadata.uid, metadata.attempt].join('_');
}

/** `k8s_<ctr>_<pod>_<namespace>_<uid>_<attempt>`, the pod's parts from the request [D6]. */
export function containerName(container: ContainerMetadata, pod: PodSandboxMetadata): string {
  return ['k8s', container.name, pod.name, pod.namespace, pod.uid, container.attempt].join('_');
}
