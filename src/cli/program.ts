/** From the command line to the daemon or a subcommand, and from what it answers to the exit code. */
import { Failure } from '../errors/index.ts';
import { type AnyCommand, type Context, EXIT } from './command.ts';
import { COMMANDS, findCommand } from './commands/index.ts';
import { commandHelp, programHelp } from './help.ts';
import { Terminal } from './render/index.ts';
import { fatalLine, reportFailure } from './report.ts';

type Env = NodeJS.ProcessEnv;
const VISIBLE = COMMANDS.filter((entry) => entry.hidden !== true);

/** Runs `crio ARGS`; answers the exit code. */
export async function main(args: readonly string[], env: Env): Promise<number> {
  const terminal = new Terminal(process.stdout, process.stderr, env);
  // `crio ps | head`: whoever reads has seen enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.ok);
    throw error;
  });
  const [first] = args;
  if (first !== undefined && !first.startsWith('-')) return await runCommand(first, args.slice(1), [], terminal, env);
  return await runWithGlobalFlags(args, terminal, env);
}

/** Flags before the subcommand are the daemon's [A3]; without a subcommand they start it [A1]. */
async function runWithGlobalFlags(args: readonly string[], terminal: Terminal, env: Env): Promise<number> {
  try {
    if (args.length > 0) {
      const { parseGlobalFlags } = await import('../config/index.ts');
      const flags = parseGlobalFlags(args, env);
      if (flags.help) return await printHelp(terminal);
      if (flags.version) return await printVersion(terminal);
      const [name, ...rest] = flags.rest;
      if (name !== undefined) return await runCommand(name, rest, args.slice(0, args.length - flags.rest.length), terminal, env);
    }
    const { runDaemon } = await import('../daemon/index.ts');
    return await runDaemon({ args: [...args], env });
  } catch (error) {
    if (isUsage(error)) terminal.out.write(`Incorrect Usage: ${error.message}\n\n${await programHelp(terminal.out)}`);
    terminal.err.write(fatalLine(terminal.err, error));
    return EXIT.failed;
  }
}

async function runCommand(
  name: string,
  args: readonly string[],
  globals: readonly string[],
  terminal: Terminal,
  env: Env,
): Promise<number> {
  if (name === 'help' || name === 'h') return await runHelp(args, terminal);
  const entry = findCommand(name);
  if (entry === undefined) return await unknownCommand(name, terminal);
  try {
    const command = await entry.load();
    const context: Context = { terminal, env, commands: VISIBLE, globalFlags: globals, readInput };
    const code = await command.execute(args, context);
    if (code !== 'help') return code;
    terminal.out.write(commandHelp(entry, command, terminal.out));
    return EXIT.ok;
  } catch (error) {
    if (entry.group !== 'This program') return reportFailure(terminal.err, error, entry);
    if (isUsage(error)) terminal.out.write(`Incorrect Usage: ${error.message}\n\n${commandHelp(entry, await entry.load(), terminal.out)}`);
    terminal.err.write(fatalLine(terminal.err, error));
    return EXIT.failed;
  }
}

function isUsage(error: unknown): error is Failure {
  return error instanceof Failure && error.code === 'usage';
}

/** The texts and codes are CRI-O's [A1, A14]; the hint is ours. */
async function unknownCommand(name: string, terminal: Terminal): Promise<number> {
  const near = await nearestCommand(name);
  const advice = near === undefined ? 'crio --help lists all commands.' : `Did you mean crio ${near}?`;
  terminal.err.write(fatalLine(terminal.err, new Failure('InvalidArgument', `command "${name}" not supported`, { advice })));
  return EXIT.failed;
}

async function nearestCommand(name: string): Promise<string | undefined> {
  const { nearest } = await import('../config/index.ts');
  return nearest(
    name,
    VISIBLE.map((entry) => entry.name),
  );
}

async function runHelp(topics: readonly string[], terminal: Terminal): Promise<number> {
  const [topic] = topics;
  if (topic === undefined) return await printHelp(terminal);
  const entry = findCommand(topic);
  if (entry === undefined) {
    terminal.err.line(`No help topic for '${topic}'`);
    return EXIT.noTopic;
  }
  const command: AnyCommand = await entry.load();
  terminal.out.write(commandHelp(entry, command, terminal.out));
  return EXIT.ok;
}

async function printHelp(terminal: Terminal): Promise<number> {
  terminal.out.write(await programHelp(terminal.out));
  return EXIT.ok;
}

async function printVersion(terminal: Terminal): Promise<number> {
  const { versionText, versionFacts } = await import('./version.ts');
  // The first key is dropped and further lines stand under the first [A15].
  const [first = '', ...more] = versionText(await versionFacts())
    .trimEnd()
    .split('\n');
  const lines = [`crio version ${first.replace(/^Version: +/, '')}`, ...more.map((line) => `   ${line}`)];
  terminal.out.write(`${lines.join('\n')}\n`);
  return EXIT.ok;
}

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString('utf8');
}
