/** Help texts, made from the table of commands and the commands' own tables of options. */
import type { AnyCommand } from './command.ts';
import { COMMANDS, type CommandEntry } from './commands/index.ts';
import type { Output } from './render/index.ts';

/** `crio --help`: commands first, as that is what is looked up; then all flags of the daemon. */
export async function programHelp(out: Output): Promise<string> {
  const { flagHelp } = await import('../config/index.ts');
  const visible = COMMANDS.filter((entry) => entry.hidden !== true);
  const groups = Map.groupBy(visible, (entry) => entry.group);
  const listed = [...groups].flatMap(([group, entries]) => [
    '',
    out.paint('bold', `${group}:`),
    ...columns(entries.map((entry) => [entry.name, entry.summary])),
  ]);
  return [
    'crio - OCI-based implementation of Kubernetes Container Runtime Interface',
    '',
    out.paint('bold', 'Usage:'),
    '  crio [FLAGS]                     start the daemon in the foreground',
    '  crio [FLAGS] COMMAND [OPTIONS]   see crio COMMAND --help',
    ...listed,
    '',
    out.paint('bold', 'Flags of the daemon:'),
    '  --help, -h       show this help',
    '  --version, -v    print the version',
    '',
    flagHelp(Math.min(Math.max(out.columns, 60), 120)),
  ].join('\n');
}

/** `crio COMMAND --help`. */
export function commandHelp(entry: CommandEntry, command: AnyCommand, out: Output): string {
  const usage = ['crio', entry.name, '[OPTIONS]', ...(command.words === '' ? [] : [command.words])].join(' ');
  const options = Object.entries(command.options).map(([name, option]): [string, string] => {
    const short = option.short === undefined ? '    ' : `-${option.short}, `;
    return [`${short}--${name}${option.type === 'string' ? ` ${option.value ?? 'VALUE'}` : ''}`, option.help];
  });
  return [
    `${entry.summary}.`,
    '',
    out.paint('bold', 'Usage:'),
    `  ${usage}`,
    ...(entry.alias === undefined ? [] : ['', `Also called ${entry.alias}.`]),
    ...(command.details === undefined ? [] : ['', command.details.trim()]),
    '',
    out.paint('bold', 'Options:'),
    ...columns(options),
    '',
  ].join('\n');
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}   ${right}`);
}
