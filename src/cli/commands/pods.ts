import { defineCommand } from '../arguments.ts';
import { openConnection, socketOption } from '../client/index.ts';
import { EXIT } from '../command.ts';
import { formatAge, formatOf, outputOption, shortId, writeData, writeTable } from '../render/index.ts';
import { PodSandbox, PodSandboxState, services, toJson } from '../../wire/index.ts';
import { labelOption, labelSelector, listOptions } from './list-options.ts';

export const pods = defineCommand({
  words: '',
  count: [0, 0],
  options: {
    ...listOptions,
    ...labelOption,
    ready: { type: 'boolean', help: 'Only pods that are ready.' },
    ...outputOption,
    ...socketOption,
  },
  async run({ values }, { terminal, env }) {
    const format = formatOf(values.output);
    using cri = openConnection(values.socket, env);
    const filter = {
      labelSelector: labelSelector(values.label),
      ...(values.ready ? { state: { state: PodSandboxState.SANDBOX_READY } } : {}),
    };
    const { items } = await cri.call(services.RuntimeService.ListPodSandbox, { filter });
    const sorted = items.toSorted((a, b) => (a.createdAt > b.createdAt ? -1 : 1));
    if (values.quiet) for (const pod of sorted) terminal.out.line(pod.id);
    else if (format !== 'table') writeData(terminal.out, format, { items: sorted.map((pod) => toJson(PodSandbox, pod)) });
    else {
      const now = Date.now();
      const rows = sorted.map((pod) => [
        values['no-trunc'] ? pod.id : shortId(pod.id),
        pod.metadata?.namespace ?? '',
        pod.metadata?.name ?? '',
        pod.state === PodSandboxState.SANDBOX_READY ? 'Ready' : 'NotReady',
        String(pod.metadata?.attempt ?? 0),
        pod.runtimeHandler === '' ? '(default)' : pod.runtimeHandler,
        formatAge(pod.createdAt, now),
      ]);
      writeTable(terminal.out, ['POD ID', 'NAMESPACE', 'NAME', 'STATE', 'ATTEMPT', 'RUNTIME', 'CREATED'], rows);
    }
    return EXIT.ok;
  },
});
