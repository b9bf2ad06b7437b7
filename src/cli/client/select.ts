/** Which pod or container a word of the command line means. Pure: works on what the lists answered. */
import { Failure } from '../../errors/index.ts';
import { type Container, ContainerState, type PodSandbox, PodSandboxState } from '../../wire/index.ts';

export interface PodTarget {
  readonly kind: 'pod';
  readonly id: string;
  readonly namespace: string;
  readonly pod: string;
  readonly createdAt: bigint;
  /** Ready, or running. */
  readonly live: boolean;
  readonly item: PodSandbox;
}
export interface ContainerTarget extends Omit<PodTarget, 'kind' | 'item'> {
  readonly kind: 'container';
  readonly container: string;
  readonly podId: string;
  readonly item: Container;
}
export type Target = PodTarget | ContainerTarget;

/**
 * `any`: pods and containers. `container`: a pod stands for its container, if it has just one (of one name).
 */
export type Wanted = 'any' | 'container';

/** Everything that can be named. */
export function targetsOf(pods: readonly PodSandbox[], containers: readonly Container[]): readonly Target[] {
  const byId = new Map(pods.map((pod) => [pod.id, pod]));
  return [...pods.map(podTarget), ...containers.map((container) => containerTarget(container, byId.get(container.podSandboxId)))];
}

/**
 * Finds what `word` means: a full id, else `[namespace/]pod[/container]`, else the beginning of an id. Of several
 * attempts with the same full name the live one counts, else, with `preferNewest`, the newest.
 * Failure: NotFound, or InvalidArgument with the candidates listed.
 */
export function select(word: string, targets: readonly Target[], wanted: Wanted, preferNewest = true): Target {
  const found = matches(word, targets);
  if (found.length === 0) throw notFound(word);
  const all = wanted === 'container' ? containersOf(found, targets) : found;
  if (all.length === 0) throw new Failure('NotFound', `pod "${word}" has no container`, { advice: 'crio ps -a lists all containers.' });
  const distinct = currentOf(all, preferNewest);
  const [only] = distinct;
  if (only !== undefined && distinct.length === 1) return only;
  throw ambiguous(word, distinct);
}

/** `select` where a container is wanted. */
export function selectContainer(word: string, targets: readonly Target[]): ContainerTarget {
  const target = select(word, targets, 'container');
  if (target.kind === 'container') return target;
  throw notFound(word);
}

function matches(word: string, targets: readonly Target[]): readonly Target[] {
  const exact = targets.filter((target) => target.id === word);
  if (exact.length > 0) return exact;
  const named = targets.filter((target) => namesOf(target).includes(word));
  if (named.length > 0) return named;
  return /^[0-9a-f]+$/.test(word) ? targets.filter((target) => target.id.startsWith(word)) : [];
}

function namesOf(target: Target): readonly string[] {
  const tail = target.kind === 'pod' ? target.pod : `${target.pod}/${target.container}`;
  return [tail, `${target.namespace}/${tail}`];
}

function containersOf(found: readonly Target[], targets: readonly Target[]): readonly ContainerTarget[] {
  const containers = targets.filter((target) => target.kind === 'container');
  const pods = currentOf(
    found.filter((target) => target.kind === 'pod'),
    true,
  );
  const inside = pods.flatMap((pod) => containers.filter((container) => container.podId === pod.id));
  return [...found.filter((target) => target.kind === 'container'), ...inside];
}

/** Attempts of the same name are one thing to people: keeps of each name the live one, or the newest if that is allowed. */
function currentOf<T extends Target>(found: readonly T[], preferNewest: boolean): readonly T[] {
  const byName = Map.groupBy(found, fullName);
  return [...byName.values()].flatMap((attempts) => {
    const live = attempts.filter((target) => target.live);
    if (live.length === 1) return live;
    if (!preferNewest) return attempts;
    const newestFirst = attempts.toSorted((a, b) => (a.createdAt > b.createdAt ? -1 : 1));
    return newestFirst.slice(0, 1);
  });
}

export function fullName(target: Target): string {
  return target.kind === 'pod' ? `${target.namespace}/${target.pod}` : `${target.namespace}/${target.pod}/${target.container}`;
}

function notFound(word: string): Failure {
  return new Failure('NotFound', `no pod or container is called "${word}"`, {
    advice: 'crio pods and crio ps -a list them. Write an id (its beginning is enough) or [NAMESPACE/]POD[/CONTAINER].',
  });
}

function ambiguous(word: string, candidates: readonly Target[]): Failure {
  const lines = candidates.map(
    (target) => `  ${target.id.slice(0, 13)}  ${target.kind.padEnd(9)}  ${fullName(target)}${target.live ? '' : '  (not running)'}`,
  );
  return new Failure('InvalidArgument', [`"${word}" is ambiguous, it may mean:`, ...lines].join('\n'), {
    code: 'ambiguous',
    advice: 'Use one of these ids, or a longer name.',
  });
}

function podTarget(item: PodSandbox): PodTarget {
  const live = item.state === PodSandboxState.SANDBOX_READY;
  const { name, namespace } = item.metadata ?? { name: '', namespace: '' };
  return { kind: 'pod', id: item.id, namespace, pod: name, createdAt: item.createdAt, live, item };
}

function containerTarget(item: Container, pod: PodSandbox | undefined): ContainerTarget {
  return {
    kind: 'container',
    id: item.id,
    podId: item.podSandboxId,
    // The kubelet's labels name the pod where the list of pods was older than that of containers.
    namespace: pod?.metadata?.namespace ?? item.labels.get('io.kubernetes.pod.namespace') ?? '',
    pod: pod?.metadata?.name ?? item.labels.get('io.kubernetes.pod.name') ?? '',
    container: item.metadata?.name ?? '',
    createdAt: item.createdAt,
    live: item.state === ContainerState.CONTAINER_RUNNING,
    item,
  };
}
