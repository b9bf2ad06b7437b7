/** Environment of a container: fields of the pod, and `$(NAME)` in values, commands and arguments. */
import type { Pod, PodContainer } from './schema.ts';

/** What is known of the pod once it runs. */
export interface PodFacts {
  readonly uid: string;
  readonly nodeName: string;
  readonly ips: readonly string[];
}

const KEYED = /^metadata\.(labels|annotations)\['(.+)'\]$/;

const FIELDS: Readonly<Record<string, (pod: Pod, facts: PodFacts) => string>> = {
  'metadata.name': (pod) => pod.metadata.name,
  'metadata.namespace': (pod) => pod.metadata.namespace,
  'metadata.uid': (_, facts) => facts.uid,
  'spec.nodeName': (_, facts) => facts.nodeName,
  'status.podIP': (_, facts) => facts.ips[0] ?? '',
  'status.podIPs': (_, facts) => facts.ips.join(','),
};

/** Whether `fieldRef` may name it. */
export function isFieldPath(path: string): boolean {
  return Object.hasOwn(FIELDS, path) || KEYED.test(path);
}

function fieldOf(path: string, pod: Pod, facts: PodFacts): string {
  const keyed = KEYED.exec(path);
  if (keyed !== null) return (keyed[1] === 'labels' ? pod.metadata.labels : pod.metadata.annotations).get(keyed[2] ?? '') ?? '';
  return (Object.hasOwn(FIELDS, path) ? FIELDS[path] : undefined)?.(pod, facts) ?? '';
}

/** Variables in the order of the manifest; each may use those above it. A later one of the same name replaces the value. */
export function environmentOf(pod: Pod, container: PodContainer, facts: PodFacts): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { name, value, valueFrom } of container.env) {
    const path = valueFrom?.fieldRef?.fieldPath;
    found.set(name, path === undefined ? expand(value ?? '', found) : fieldOf(path, pod, facts));
  }
  return found;
}

/** `$(NAME)` becomes the variable's value, or stays if there is none; `$$(NAME)` is a literal `$(NAME)`. */
export function expand(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (found, name: string | undefined) =>
    name === undefined ? '$' : (variables.get(name) ?? found),
  );
}
