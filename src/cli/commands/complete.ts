import { type FlagHelp, listFlags } from '../../config/index.ts';
import { defineCommand, usage } from '../arguments.ts';
import { type CommandSummary, EXIT } from '../command.ts';

const SHELLS: Readonly<Record<string, (commands: readonly CommandSummary[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

export const complete = defineCommand({
  words: '[bash|fish|zsh]',
  count: [0, 1],
  options: {},
  details: '  crio complete bash > /etc/bash_completion.d/crio',
  run({ words }, { terminal, commands }) {
    const [shell = 'bash'] = words;
    const script = Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined;
    if (script === undefined) throw usage('only bash, fish or zsh are supported');
    terminal.out.write(script(commands));
    return Promise.resolve(EXIT.ok);
  },
});

/** Commands and flags as one list of words [A214]. */
function bashScript(commands: readonly CommandSummary[]): string {
  const names = commands.flatMap(({ name, alias }) => (alias === undefined ? [name] : [name, alias]));
  const words = [...names, ...listFlags().map(({ name }) => `--${name}`), '--help', '--version'];
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
function zshScript(commands: readonly CommandSummary[]): string {
  const described = commands.map(({ name, summary }) => `    '${name}:${single(summary)}'`);
  const flags = listFlags().map(({ name, doc }) => `    '--${name}:${single(doc)}'`);
  return `#compdef crio
_cli_zsh_autocomplete() {
  local -a cmds
  cmds=(
${described.join('\n')}
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
function fishScript(commands: readonly CommandSummary[]): string {
  const flag = ({ name, alias, type, doc }: FlagHelp): string => {
    const short = alias?.length === 1 ? ` -s ${alias}` : '';
    return `complete -c crio -n '__fish_use_subcommand' -f -l ${name}${short}${type === 'bool' ? '' : ' -r'} -d '${single(doc)}'`;
  };
  const words = commands.map(({ name, summary }) => `complete -c crio -n '__fish_use_subcommand' -f -a '${name}' -d '${single(summary)}'`);
  return `${[...listFlags().map(flag), ...words].join('\n')}\n`;
}

/** Fit to stand between single quotes in all three shells. */
function single(text: string): string {
  return text.replaceAll("'", '’').replaceAll('\\', '/').replaceAll(':', ';');
}
