import { defineCommand } from '../arguments.ts';
import { EXIT } from '../command.ts';
import { versionFacts, versionJson, versionText } from '../version.ts';

export const version = defineCommand({
  words: '',
  count: [0, 0],
  options: {
    json: { type: 'boolean', short: 'j', help: 'Print one JSON object.' },
    verbose: { type: 'boolean', short: 'v', help: 'Name the libraries, too.' },
  },
  async run({ values }, { terminal }) {
    const facts = await versionFacts(values.verbose);
    terminal.out.write(values.json ? versionJson(facts) : versionText(facts));
    return EXIT.ok;
  },
});
