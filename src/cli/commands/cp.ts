import { existsSync, statSync } from 'node:fs';
import { basename, join, posix } from 'node:path';
import { once } from 'node:events';
import { Failure } from '../../errors/index.ts';
import { services } from '../../wire/index.ts';
import { defineCommand, usage } from '../arguments.ts';
import { type CriConnection, listTargets, openConnection, selectContainer, socketOption } from '../client/index.ts';
import { EXIT } from '../command.ts';
import { Unpacker, nothingCame, pack } from '../copy/index.ts';
import { type Terminal, printable } from '../render/index.ts';
import { type RemoteCommand, dialStreaming, openRemoteCommand, streamingUrl } from '../streaming/index.ts';

/** A place in a container: `web/main:/etc/hosts`. */
interface Remote {
  readonly container: string;
  readonly path: string;
}

export const cp = defineCommand({
  words: 'SOURCE TARGET',
  count: [2, 2],
  options: { ...socketOption },
  details: `Copies a file or a directory into a container or out of it, through the container's own tar. One of both is POD[/CONTAINER]:PATH.
A directory that is there already gets the copy inside it. Out of a container come files and directories only, never links.

  crio cp web:/var/log/app.log .
  crio cp site.tar default/web/server:/tmp`,
  async run({ values, words }, { terminal, env }) {
    const [source = '', target = ''] = words;
    const [from, to] = [parseRemote(source), parseRemote(target)];
    if ((from === undefined) === (to === undefined))
      throw usage('one of SOURCE and TARGET must be POD[/CONTAINER]:PATH, the other a path here');
    using cri = openConnection(values.socket, env);
    const { id } = selectContainer((from ?? to)?.container ?? '', await listTargets(cri));
    if (from !== undefined) await copyOut(cri, id, from.path, target, terminal);
    else await copyIn(cri, id, source, to?.path ?? '', terminal);
    return EXIT.ok;
  },
});

/** A path here begins with `/` or `.`, or has no colon. */
function parseRemote(text: string): Remote | undefined {
  const at = text.indexOf(':');
  if (at <= 0 || text.startsWith('/') || text.startsWith('.')) return undefined;
  const path = text.slice(at + 1);
  if (path === '') throw usage(`no path behind the colon: "${text}"`);
  return { container: text.slice(0, at), path };
}

async function copyOut(cri: CriConnection, id: string, path: string, target: string, terminal: Terminal): Promise<void> {
  const name = posix.basename(path);
  if (name === '' || name === '..') throw usage(`what to copy has no name: ${path}`);
  const place = existsSync(target) && statSync(target).isDirectory() ? join(target, name) : target;
  const unpacker = new Unpacker(place, (member, why) => terminal.err.line(printable(`left out ${member}: ${why}`)));
  const remote = await start(cri, id, ['tar', 'cf', '-', '-C', posix.dirname(path), `./${name}`], false);
  const said = complaint(remote);
  try {
    for await (const chunk of remote.stdout ?? []) unpacker.push(chunk as Buffer);
    await check(remote, said);
    if (unpacker.members === 0) throw nothingCame(path);
  } finally {
    unpacker.close();
    remote.close();
  }
}

async function copyIn(cri: CriConnection, id: string, source: string, path: string, terminal: Terminal): Promise<void> {
  if (!existsSync(source)) throw new Failure('NotFound', `no such file or directory: ${source}`);
  const { exitCode } = await cri.call(services.RuntimeService.ExecSync, { containerId: id, cmd: ['test', '-d', path], timeout: 10n });
  const inside = exitCode === 0 ? { dir: path, name: basename(source) } : { dir: posix.dirname(path), name: posix.basename(path) };
  const remote = await start(cri, id, ['tar', 'xmf', '-', '-C', inside.dir], true);
  const said = complaint(remote);
  remote.stdout?.on('data', (chunk: Buffer) => terminal.out.write(printable(chunk.toString('utf8'))));
  try {
    const { stdin } = remote;
    stdin?.on('error', () => {}); // tar has ended, and says why.
    for await (const chunk of pack(source, inside.name)) {
      if (stdin?.writable !== true) break;
      if (!stdin.write(chunk)) await Promise.race([once(stdin, 'drain'), once(stdin, 'close')]);
    }
    stdin?.end();
    await check(remote, said);
  } finally {
    remote.close();
  }
}

async function start(cri: CriConnection, containerId: string, cmd: readonly string[], stdin: boolean): Promise<RemoteCommand> {
  const streams = { stdin, stdout: true, stderr: true, tty: false };
  const { url } = await cri.call(services.RuntimeService.Exec, { containerId, cmd, ...streams });
  const target = streamingUrl(url);
  return await openRemoteCommand(await dialStreaming(target), target, streams);
}

function complaint({ stderr }: RemoteCommand): () => string {
  let text = '';
  stderr?.on('data', (chunk: Buffer) => (text = `${text}${chunk.toString('utf8')}`.slice(-4096)));
  return () => text.trim();
}

async function check(remote: RemoteCommand, said: () => string): Promise<void> {
  const code = await remote.exit;
  if (code === 0) return;
  throw new Failure('Unknown', `tar in the container ended with ${code}: ${said()}`, {
    advice: 'The container needs a tar program, and its user must be allowed to read or write there.',
  });
}
