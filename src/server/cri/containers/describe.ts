import type { Container } from '../../../containers/index.ts';

/** `<namespace>/<pod>/<container>`, as log lines name a container [D15]. */
export function describeContainer({ facts }: Container): string {
  const label = (name: string) => facts.labels.get(`io.kubernetes.${name}`) ?? '';
  return `${label('pod.namespace')}/${label('pod.name')}/${label('container.name')}`;
}
