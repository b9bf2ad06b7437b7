import type { Mount, OciSpec } from '../oci/spec/index.ts';
import { annotation, jsonAnnotation } from './annotations.ts';

/**
 * The CRI mounts that Status lists, from the Volumes annotation [D161, P90]: host paths as they were resolved, image volumes
 * with the image's id. CRI-O leaves `image_ref` out; the kubelet shows it to a pod's owner (KEP-5365).
 */
export function mountsOfSpec(spec: OciSpec): Mount[] {
  const json = annotation(spec, 'Volumes') === undefined ? [] : jsonAnnotation(spec, 'Volumes');
  if (!Array.isArray(json)) return [];
  return json.map((entry: Record<string, unknown>) => ({
    containerPath: textOr(entry['container_path']),
    hostPath: textOr(entry['host_path']),
    readonly: entry['readonly'] === true,
    recursiveReadOnly: entry['recursive_read_only'] === true,
    propagation: typeof entry['propagation'] === 'number' ? entry['propagation'] : 0,
    selinuxRelabel: entry['selinux_relabel'] === true,
    uidMappings: [],
    gidMappings: [],
    imageSubPath: '',
    image: imageOfVolume(entry['image']),
  }));
}

function textOr(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function imageOfVolume(image: unknown): Mount['image'] {
  if (image === null || typeof image !== 'object') return undefined;
  const id = textOr((image as { image?: unknown }).image);
  return { image: id, annotations: new Map(), userSpecifiedImage: '', runtimeHandler: '', imageRef: id };
}
