import { type Nanoseconds, fromRfc3339 } from '../clock/index.ts';
import { Failure, textOf } from '../errors/index.ts';
import type { OciSpec, StringMap } from '../oci/spec/index.ts';

const PREFIX = 'io.kubernetes.cri-o.';

/** The value of `io.kubernetes.cri-o.<name>`. */
export function annotation(spec: OciSpec, name: string): string | undefined {
  return Object.hasOwn(spec.annotations, PREFIX + name) ? spec.annotations[PREFIX + name] : undefined;
}

/** JSON of an annotation, or CRI-O's failure text [D179, P75]. `null` counts as absent. */
export function jsonAnnotation(spec: OciSpec, name: string): unknown {
  try {
    return JSON.parse(annotation(spec, name) ?? '') as unknown;
  } catch (error) {
    throw new Failure('Unknown', `error unmarshalling ${PREFIX}${name} annotation: ${textOf(error)}`, { cause: error });
  }
}

export function stringMapAnnotation(spec: OciSpec, name: string): StringMap {
  const json = jsonAnnotation(spec, name);
  if (json === null) return new Map();
  if (typeof json !== 'object' || Array.isArray(json))
    throw new Failure('Unknown', `error unmarshalling ${PREFIX}${name} annotation: not an object`);
  return new Map(Object.entries(json).map(([key, value]) => [key, String(value)]));
}

export function createdAnnotation(spec: OciSpec): Nanoseconds {
  const text = annotation(spec, 'Created') ?? '';
  const created = fromRfc3339(text);
  if (created === undefined) throw new Failure('Unknown', `parsing created timestamp annotation: cannot parse "${text}" as RFC 3339`);
  return created;
}
