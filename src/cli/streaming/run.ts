import { StringDecoder } from 'node:string_decoder';
import type { Readable } from 'node:stream';
import type { ReadStream } from 'node:tty';
import { Copy } from '../../streams/index.ts';
import { type Output, type Terminal, printableLines } from '../render/index.ts';
import { type RemoteCommand, type WantedStreams, openRemoteCommand } from './command.ts';
import { dialStreaming, streamingUrl } from './dial.ts';

export interface SessionOptions extends WantedStreams {
  /** Control characters of the other side pass to our terminal, as they do with a terminal of its own. */
  readonly raw: boolean;
}

/** Connects our own streams with those behind a URL of Exec or Attach, until their end; answers the exit code. */
export async function runSession(url: string, options: SessionOptions, terminal: Terminal): Promise<number> {
  const target = streamingUrl(url);
  const remote = await openRemoteCommand(await dialStreaming(target), target, options);
  using _ = options.tty ? takeTerminal(remote) : undefined;
  if (remote.stdin !== undefined) passInput(remote);
  const outputs = [show(remote.stdout, terminal.out, options), show(remote.stderr, terminal.err, options)];
  try {
    await Promise.all(outputs);
    return await remote.exit;
  } finally {
    remote.close();
    process.stdin.destroy();
  }
}

function passInput({ stdin }: RemoteCommand): void {
  if (stdin === undefined) return;
  stdin.on('error', () => {}); // The other side reads no more.
  void new Copy(process.stdin, stdin, { onBroken: 'discard' }).done.then(() => stdin.end());
}

/** What a container says must not steer the terminal of whoever looks, unless that is asked for. */
async function show(stream: Readable | undefined, to: Output, { tty, raw }: SessionOptions): Promise<void> {
  if (stream === undefined) return;
  const decoder = tty || raw || !to.interactive ? undefined : new StringDecoder('utf8');
  for await (const chunk of stream) {
    await to.written(decoder === undefined ? (chunk as Buffer) : printableLines(decoder.write(chunk as Buffer)));
  }
  if (decoder !== undefined) to.write(printableLines(decoder.end()));
}

/** Our terminal as a window onto the other one: every key goes there, its size follows ours. Given back however we end. */
function takeTerminal(remote: RemoteCommand): Disposable {
  const input: Partial<Pick<ReadStream, 'isTTY' | 'setRawMode'>> = process.stdin;
  const sized = process.stdout;
  const tellSize = () => {
    if (sized.isTTY) remote.resize(sized.columns, sized.rows);
  };
  const give = () => void (input.isTTY === true && input.setRawMode?.(false));
  const dying = (signal: NodeJS.Signals) => {
    give();
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  };
  if (input.isTTY === true) input.setRawMode?.(true);
  tellSize();
  sized.on('resize', tellSize);
  process.on('exit', give);
  for (const signal of DEADLY) process.on(signal, dying);
  return {
    [Symbol.dispose]: () => {
      give();
      sized.off('resize', tellSize);
      process.off('exit', give);
      for (const signal of DEADLY) process.off(signal, dying);
    },
  };
}

const DEADLY = ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGQUIT'] as const;
