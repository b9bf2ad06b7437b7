import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Failure } from '../errors/index.ts';
import { parseArguments } from './arguments.ts';
import type { Command, Options } from './command.ts';

const options = {
  force: { type: 'boolean', short: 'f', help: '' },
  timeout: { type: 'string', short: 't', value: 'SECONDS', help: '' },
  label: { type: 'string', short: 'l', multiple: true, help: '' },
} as const satisfies Options;

const command = (count: [number, number], verbatimAfter?: number): Command<typeof options> => ({
  words: 'POD...',
  count,
  options,
  ...(verbatimAfter === undefined ? {} : { verbatimAfter }),
  run: () => Promise.resolve(0),
});

const parse = async (args: string, count: [number, number] = [0, Infinity], verbatimAfter?: number) =>
  await parseArguments(command(count, verbatimAfter), args.split(' ').filter(Boolean));

const refused = async (args: string, message: RegExp, count?: [number, number]) => {
  await assert.rejects(
    parse(args, count),
    (error: unknown) => error instanceof Failure && error.code === 'usage' && message.test(`${error.message} ${error.advice ?? ''}`),
  );
};

describe('arguments of a subcommand', () => {
  it('are options and words in any order', async () => {
    assert.deepEqual(await parse('a -f --timeout 5 b --label x=1 -l y=2'), {
      values: { force: true, timeout: '5', label: ['x=1', 'y=2'] },
      words: ['a', 'b'],
    });
    assert.deepEqual(await parse('--timeout=5 -t6 -- -f'), { values: { force: false, timeout: '6', label: [] }, words: ['-f'] });
  });

  it('ask for help wherever -h stands', async () => {
    assert.equal(await parse('a -h', [3, 3]), 'help');
  });

  it('are left alone behind the words that are ours', async () => {
    const call = await parse('-f pod ls -f --timeout', [2, Infinity], 1);
    assert.deepEqual(call, { values: { force: true, timeout: undefined, label: [] }, words: ['pod', 'ls', '-f', '--timeout'] });
    const behindDashes = await parse('pod -- -x', [2, Infinity], 1);
    assert.deepEqual(behindDashes === 'help' ? [] : behindDashes.words, ['pod', '-x']);
  });

  it('are refused in one sentence that says what to do', async () => {
    await refused('--forse', /unknown option --forse.*Did you mean --force\?/);
    await refused('--force=yes', /--force takes no value/);
    await refused('a --timeout', /--timeout needs a value: --timeout SECONDS/);
    await refused('', /POD\.\.\. is missing/, [1, 2]);
    await refused('a b c', /too many arguments: c/, [1, 2]);
    await refused('a', /takes no arguments: a/, [0, 0]);
    await refused('--constructor', /unknown option/);
  });
});
