import { type FlagHelp, listFlags } from '../../config/index.ts';
import { defineCommand, usage } from '../arguments.ts';
import { EXIT } from '../command.ts';
import { COMMANDS } from './index.ts';

const SHELLS: Readonly<Record<string, () => string>> = { bash: bashScript, zsh: zshScript, fish: fishScript };

export const complete = defineCommand({
  words: '[bash|fish|zsh]',
  count: [0, 1],
  options: {},
  details: '  crio complete bash > /etc/bash_completion.d/crio',
  run({ words }, { terminal }) {
    const [shell = 'bash'] = words;
    const script = Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined;
    if (script === undefined) throw usage('only bash, fish or zsh are supported');
    terminal.out.write(script());
    return Promise.resolve(EXIT.ok);
  },
});

const visible = COMMANDS.filter((entry) => entry.hidden !== true);
const names = (): string[] => visible.flatMap(({ name, alias }) => (alias === undefined ? [name] : [name, alias]));

/** Commands and flags as one list of words [A214]. */
function bashScript(): string {
  const words = [...names(), ...listFlags().map(({ name }) => `--${name}`), '--help', '--version'];
  return `_cli_bash_autocomplete() {
    local cur opts
    COMPREPLY=()
    cur="\${COMP_WORDS[COMP_CWORD]}"
    opts="${words.join('\n')}"
    COMPREPLY=( $(compgen -W "\${opts}" -- "\${cur}") )
    return 0
}

complete -F _cli_bash_autocomplete crio
`;
}

/** Commands with what they do, then options [A215]. */
function zshScript(): string {
  const commands = visible.map(({ name, summary }) => `    '${name}:${single(summary)}'`);
  const flags = listFlags().map(({ name, doc }) => `    '--${name}:${single(doc)}'`);
  return `#compdef crio
_cli_zsh_autocomplete() {
  local -a cmds
  cmds=(
${commands.join('\n')}
  )
  _describe 'commands' cmds

  local -a opts
  opts=(
${flags.join('\n')}
  )
  _describe 'global options' opts
}

compdef _cli_zsh_autocomplete crio
`;
}

/** One line for each flag and command [A215]. */
function fishScript(): string {
  const flag = ({ name, alias, type, doc }: FlagHelp): string => {
    const short = alias?.length === 1 ? ` -s ${alias}` : '';
    return `complete -c crio -n '__fish_use_subcommand' -f -l ${name}${short}${type === 'bool' ? '' : ' -r'} -d '${single(doc)}'`;
  };
  const commands = visible.map(
    ({ name, summary }) => `complete -c crio -n '__fish_use_subcommand' -f -a '${name}' -d '${single(summary)}'`,
  );
  return `${[...listFlags().map(flag), ...commands].join('\n')}\n`;
}

/** Fit to stand between single quotes in all three shells. */
function single(text: string): string {
  return text.replaceAll("'", '’').replaceAll('\\', '/').replaceAll(':', ';');
}
