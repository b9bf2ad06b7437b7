import { services } from '../../wire/index.ts';
import { defineCommand } from '../arguments.ts';
import { listTargets, openConnection, selectContainer, socketOption } from '../client/index.ts';
import { runSession } from '../streaming/index.ts';

export const attach = defineCommand({
  words: 'POD[/CONTAINER]',
  count: [1, 1],
  options: {
    interactive: { type: 'boolean', short: 'i', help: "Pass standard input on, if the container has one (its manifest's stdin)." },
    tty: { type: 'boolean', short: 't', help: "The container has a terminal (its manifest's tty): show it as it is." },
    raw: { type: 'boolean', help: 'Pass control characters through to the terminal.' },
    ...socketOption,
  },
  details: `Shows what a running container prints from now on, until it ends. With -i and -t, ctrl-p ctrl-q detaches; the container goes on.

  crio attach web
  crio attach -it default/web/console`,
  async run({ values, words }, { terminal, env }) {
    const { interactive, tty, raw } = values;
    const [word = ''] = words;
    using cri = openConnection(values.socket, env);
    const { id: containerId } = selectContainer(word, await listTargets(cri));
    const streams = { stdin: interactive, stdout: true, stderr: !tty, tty };
    const { url } = await cri.call(services.RuntimeService.Attach, { containerId, ...streams });
    return await runSession(url, { ...streams, raw }, terminal);
  },
});
