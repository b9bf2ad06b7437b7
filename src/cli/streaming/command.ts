import type { Duplex, Readable, Writable } from 'node:stream';
import { Failure, textOf } from '../../errors/index.ts';
import { SpdySession, type SpdyStream, requestUpgrade } from '../../streams/index.ts';

export interface WantedStreams {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

/** A command or a container's streams at the other end of a connection. */
export interface RemoteCommand {
  readonly stdin: Writable | undefined;
  readonly stdout: Readable | undefined;
  readonly stderr: Readable | undefined;
  resize(width: number, height: number): void;
  /** The exit code, once the streams have been read to their end; a Failure with the server's text when it is not the command's. */
  readonly exit: Promise<number>;
  close(): void;
}

/** Any server of CRI speaks it, ours, CRI-O's and containerd's, and it can end its input without closing. */
const PROTOCOL = 'v4.channel.k8s.io';

/** Connects to where Exec or Attach said, over SPDY. Fails with Unavailable when the server refuses. */
export async function openRemoteCommand(connection: Duplex, url: URL, wanted: WantedStreams): Promise<RemoteCommand> {
  const { head } = await requestUpgrade(connection, {
    method: 'POST',
    path: `${url.pathname}${url.search}`,
    host: url.host,
    headers: [
      ['Upgrade', 'SPDY/3.1'],
      ['X-Stream-Protocol-Version', PROTOCOL],
      ['Content-Length', '0'],
    ],
  });
  const session = new SpdySession(connection, { role: 'client', head });
  const open = async (type: string, is: boolean) => (is ? await session.open(new Map([['streamtype', type]])) : undefined);
  const error = await open('error', true);
  const [stdin, stdout, stderr, resize] = [
    await open('stdin', wanted.stdin),
    await open('stdout', wanted.stdout),
    await open('stderr', wanted.stderr),
    await open('resize', wanted.tty),
  ];
  if (error === undefined) throw new Failure('Internal', 'a stream was not opened');
  const exit = exitOf(error, session);
  exit.catch(() => {}); // Whoever closes before the end has seen enough.
  return {
    stdin,
    stdout,
    stderr,
    resize: (width, height) => void (resize?.writable === true && resize.write(JSON.stringify({ Width: width, Height: height }))),
    exit,
    close: () => session.close(),
  };
}

async function exitOf(error: SpdyStream, session: SpdySession): Promise<number> {
  const parts: Buffer[] = [];
  try {
    for await (const part of error) parts.push(part as Buffer);
  } catch (cause) {
    const why = await session.closed;
    throw new Failure('Unavailable', `the connection was lost: ${textOf(why ?? cause)}`, { cause });
  }
  return exitCode(Buffer.concat(parts).toString('utf8'));
}

interface Status {
  readonly status?: unknown;
  readonly reason?: unknown;
  readonly message?: unknown;
  readonly details?: { readonly causes?: readonly { readonly reason?: unknown; readonly message?: unknown }[] };
}

/** Of a Kubernetes `Status` as it comes at the end, from older servers only its text; a Failure when that is no exit. */
export function exitCode(text: string): number {
  if (text === '') return 0;
  let status: Status;
  try {
    status = JSON.parse(text) as Status;
  } catch {
    throw new Failure('Unknown', text.trim());
  }
  if (status.status === 'Success') return 0;
  const cause = status.reason === 'NonZeroExitCode' ? status.details?.causes?.find(({ reason }) => reason === 'ExitCode') : undefined;
  const code = Number(cause?.message);
  if (cause !== undefined && Number.isInteger(code)) return code;
  throw new Failure('Unknown', typeof status.message === 'string' ? status.message : text.trim());
}
