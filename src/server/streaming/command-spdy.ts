import type { IncomingMessage } from 'node:http';
import { Failure } from '../../errors/index.ts';
import { SpdySession, type SpdyStream } from '../../streams/index.ts';
import { WindowSizes } from './sizes.ts';
import { statusText } from './status.ts';
import type { CommandRequest, CommandSession, Outcome } from './types.ts';
import { type Upgraded, ended, upgradeToSpdy } from './upgrade.ts';

/** Newest first is for the client to say: the first of its list that is here is taken [E40]. */
const VERSIONS: ReadonlyMap<string, number> = new Map([
  ['v4.channel.k8s.io', 4],
  ['v3.channel.k8s.io', 3],
  ['v2.channel.k8s.io', 2],
  ['channel.k8s.io', 1],
]);
const FIRST_WITH_RESIZE = 3;

/** Upgrades to SPDY, and waits for the streams that the request promised [E32, E39–E41]; undefined if the upgrade was refused. */
export async function commandOverSpdy(
  message: IncomingMessage,
  connection: Upgraded,
  request: CommandRequest,
): Promise<CommandSession | undefined> {
  const protocol = upgradeToSpdy(message, connection.socket, [...VERSIONS.keys()]);
  if (protocol === undefined) return undefined;
  const version = VERSIONS.get(protocol) ?? 1;
  const wanted = wantedStreams(request, version);
  const streams = new Map<string, SpdyStream>();
  const complete = Promise.withResolvers<void>();
  const session = new SpdySession(connection.socket, {
    role: 'server',
    head: connection.head,
    maxStreams: wanted.length,
    onStream: (stream) => {
      const type = stream.headers.get('streamtype') ?? '';
      if (!wanted.includes(type) || streams.has(type)) return false;
      streams.set(type, stream);
      if (streams.size === wanted.length) complete.resolve();
      return true;
    },
  });
  const gone = new AbortController();
  void session.closed.then((error) => {
    connection.ended(error);
    gone.abort();
    complete.reject(error ?? new Failure('Canceled', 'the client has gone before it had created its streams'));
  });
  const timer = setTimeout(
    () => session.destroy(new Failure('DeadlineExceeded', 'timed out waiting for client to create streams')),
    connection.creationTimeoutMs,
  );
  try {
    await complete.promise;
  } finally {
    clearTimeout(timer);
  }
  return spdyCommand(session, streams, gone.signal, version);
}

function wantedStreams(request: CommandRequest, version: number): string[] {
  const { stdin, stdout, stderr, tty } = request;
  const resize = tty && version >= FIRST_WITH_RESIZE;
  return ['error', ...Object.entries({ stdin, stdout, stderr, resize }).flatMap(([name, wanted]) => (wanted ? [name] : []))];
}

function spdyCommand(session: SpdySession, streams: ReadonlyMap<string, SpdyStream>, gone: AbortSignal, version: number): CommandSession {
  const sizes = new WindowSizes();
  streams.get('resize')?.on('data', (bytes: Buffer) => sizes.receive(bytes));
  for (const name of ['error', 'stdout', 'stderr']) streams.get(name)?.resume(); // Nothing of the client's is to be read there.
  const [stdout, stderr, error] = [streams.get('stdout'), streams.get('stderr'), streams.get('error')];
  return {
    streams: { stdin: streams.get('stdin'), stdout, stderr, onResize: sizes.onResize, gone },
    async finish(outcome: Outcome) {
      await Promise.all([ended(stdout), ended(stderr)]);
      const text = statusText(outcome, version);
      if (text !== '' && error?.writable === true) error.write(text);
      await ended(error);
      session.close();
    },
  };
}
