import { type AddressInfo, type Server, createServer } from 'node:net';
import { Failure, codeOf, textOf } from '../../errors/index.ts';
import { services } from '../../wire/index.ts';
import { defineCommand, usage } from '../arguments.ts';
import { listTargets, openConnection, select, socketOption } from '../client/index.ts';
import { EXIT } from '../command.ts';
import { type Terminal, printable } from '../render/index.ts';
import { ForwardingSession, dialStreaming, streamingUrl } from '../streaming/index.ts';

interface Forwarding {
  readonly local: number;
  readonly remote: number;
}

export const portForward = defineCommand({
  words: 'POD [LOCAL:]PORT...',
  count: [2, Infinity],
  options: {
    address: { type: 'string', value: 'ADDRESS', help: 'Listen there (default: 127.0.0.1).' },
    ...socketOption,
  },
  details: `Listens on local ports and connects whoever comes with ports of the pod, on its loopback address, until it is interrupted.
LOCAL is PORT unless it is given; an empty one or 0 is any free port.

  crio port-forward web 8080:80
  crio port-forward default/web :80 5432`,
  async run({ values, words }, { terminal, env }) {
    const [word = '', ...ports] = words;
    const wanted = ports.map(parseForwarding);
    using cri = openConnection(values.socket, env);
    const target = select(word, await listTargets(cri), 'any');
    const podSandboxId = target.kind === 'pod' ? target.id : target.podId;
    const { url: text } = await cri.call(services.RuntimeService.PortForward, { podSandboxId, port: wanted.map(({ remote }) => remote) });
    const url = streamingUrl(text);
    const session = await ForwardingSession.open(await dialStreaming(url), url);
    const servers: Server[] = [];
    try {
      for (const forwarding of wanted) servers.push(await listen(forwarding, values.address ?? '127.0.0.1', session, terminal));
      await ended(session);
      return EXIT.ok;
    } finally {
      for (const server of servers) server.close();
      session.close();
    }
  },
});

function parseForwarding(text: string): Forwarding {
  const [first = '', second] = text.split(':');
  const remote = portOf(second ?? first, text);
  if (remote === 0) throw usage(`port 0 of a pod cannot be reached: ${text}`);
  return { remote, local: second === undefined ? remote : first === '' ? 0 : portOf(first, text) };
}

function portOf(text: string, whole: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65535) return Number(text);
  throw usage(`not a port: "${whole}"`, 'Write PORT, LOCAL:PORT or :PORT.');
}

async function listen({ local, remote }: Forwarding, address: string, session: ForwardingSession, terminal: Terminal): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    void session.forward(socket, remote).then(
      (said) => said !== '' && terminal.err.line(printable(said)),
      (error: unknown) => {
        socket.destroy();
        terminal.err.line(printable(textOf(error)));
      },
    );
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ port: local, host: address }, resolve);
  try {
    await promise;
  } catch (error) {
    throw new Failure('FailedPrecondition', `cannot listen on ${address}:${local}: ${codeOf(error) ?? textOf(error)}`, {
      cause: error,
      advice: 'Choose another local port (LOCAL:PORT, or :PORT for any), or another --address.',
    });
  }
  terminal.out.line(`Forwarding from ${address}:${(server.address() as AddressInfo).port} -> ${remote}`);
  return server;
}

/** Until it is interrupted, or the connection breaks, which is a failure. */
async function ended(session: ForwardingSession): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  void session.closed.then((error) => {
    reject(new Failure('Unavailable', `the connection to the pod was lost${error === undefined ? '' : `: ${textOf(error)}`}`));
  });
  await promise;
}
