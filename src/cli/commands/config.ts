import { defaultConfig, loadConfig, renderConfig, validateConfig } from '../../config/index.ts';
import { defineCommand } from '../arguments.ts';
import { EXIT } from '../command.ts';

export const config = defineCommand({
  words: '',
  count: [0, 0],
  options: {
    default: { type: 'boolean', help: 'Print every key with its default instead, whatever files, flags and environment say.' },
  },
  details: `Reads files, flags and environment as the daemon would and prints the result; keys at their default are commented out.

  crio config --default > /etc/crio/crio.conf
  crio --config ./crio.conf config`,
  async run({ values }, { terminal, env, globalFlags }) {
    const log = (level: string, message: string): void => terminal.err.line(`level=${level} msg=${JSON.stringify(message)}`);
    const loaded = loadConfig({ args: globalFlags, env });
    for (const notice of loaded.notices) log('info', notice);
    for (const warning of loaded.warnings) log('warning', warning);
    const { messages } = validateConfig(loaded.config);
    for (const message of messages) log(message.level, message.text);
    terminal.out.write(values.default ? renderConfig(defaultConfig()) : renderConfig(loaded.config, { onlyChanged: true }));
    return await Promise.resolve(EXIT.ok);
  },
});
