import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../errors/index.ts';
import { parseGlobalFlags } from './flags.ts';
import { flagHelp, listFlags } from './help.ts';

const valueOf = (args: readonly string[], key: string, env: Record<string, string> = {}) =>
  parseGlobalFlags(args, env).given.get(key)?.value;

/** The message of the Failure; every one of them is a usage error with advice. */
function refusal(args: readonly string[], env: Record<string, string> = {}): string {
  try {
    parseGlobalFlags(args, env);
  } catch (error) {
    assert.ok(error instanceof Failure);
    assert.equal(error.kind, 'InvalidArgument');
    assert.equal(error.code, 'usage');
    assert.ok(error.advice);
    return error.message;
  }
  assert.fail('was accepted');
}

test('[A3] -x v, -x=v, --x v, --x=v; long names with one dash; -- ends flags; the subcommand keeps its own', () => {
  for (const args of [
    ['-log-level', 'debug'],
    ['-log-level=debug'],
    ['--log-level', 'debug'],
    ['--log-level=debug'],
    ['-l', 'debug'],
    ['--l=debug'],
  ]) {
    assert.equal(valueOf(args, 'crio.runtime.log_level'), 'debug', args.join(' '));
  }
  const flags = parseGlobalFlags(['-l', 'debug', 'config', '--default'], {});
  assert.deepEqual(flags.rest, ['config', '--default']);
  assert.deepEqual(parseGlobalFlags(['--', '--log-level'], {}).rest, ['--log-level']);
  assert.deepEqual(parseGlobalFlags(['-', '-l'], {}).rest, ['-', '-l']);
  assert.equal(valueOf(['--log-filter', '--x'], 'crio.runtime.log_filter'), '--x', 'what follows is the value, whatever it looks like');
  assert.equal(valueOf(['--log-filter=a=b'], 'crio.runtime.log_filter'), 'a=b');
  assert.equal(refusal(['---log-level']), 'bad flag syntax: ---log-level');
});

test('[A4] booleans take no separate word', () => {
  assert.equal(valueOf(['--read-only'], 'crio.runtime.read_only'), true);
  assert.equal(valueOf(['--drop-infra-ctr=F'], 'crio.runtime.drop_infra_ctr'), false);
  assert.deepEqual(parseGlobalFlags(['--read-only', 'false'], {}).rest, ['false']);
  assert.equal(refusal(['--selinux=q']), 'invalid boolean value "q" for -selinux: parse error');
});

test('[A5, A6] numbers and durations name the flag with one dash', () => {
  assert.equal(refusal(['--metrics-port', 'foo']), 'invalid value "foo" for flag -metrics-port: parse error');
  assert.equal(
    refusal(['--metrics-port', '9223372036854775808']),
    'invalid value "9223372036854775808" for flag -metrics-port: value out of range',
  );
  assert.equal(valueOf(['--metrics-port', '0x2386'], 'crio.metrics.metrics_port'), 9094);
  assert.equal(refusal(['--pull-progress-timeout=x']), 'invalid value "x" for flag -pull-progress-timeout: parse error');
  assert.equal(valueOf(['--pull-progress-timeout=1m'], 'crio.image.pull_progress_timeout'), 60_000);
});

test('[A7] unknown flags and missing values; the nearest flag is named', () => {
  assert.equal(refusal(['--foo']), 'flag provided but not defined: -foo');
  assert.equal(refusal(['--listen']), 'flag needs an argument: -listen');
  assert.throws(() => parseGlobalFlags(['--log-levle=debug'], {}), { advice: /Did you mean --log-level\?/ });
  assert.throws(
    () => parseGlobalFlags(['--registries-cont=x'], {}),
    (error: Failure) => !error.advice?.includes('registries-conf'),
    'hidden flags are not offered',
  );
});

test('[A9, A10] lists: the first use replaces, later ones append, the flag replaces the variable', () => {
  const key = 'crio.runtime.hooks_dir';
  assert.deepEqual(valueOf(['--hooks-dir', '/a, /b', '--hooks-dir=/c'], key), ['/a', '/b', '/c']);
  assert.deepEqual(valueOf([], key, { CONTAINER_HOOKS_DIR: '/x , /y' }), ['/x', '/y']);
  assert.deepEqual(valueOf(['--hooks-dir', '/a'], key, { CONTAINER_HOOKS_DIR: '/x,/y' }), ['/a']);
});

test('[A11] empty variables: set for text, booleans and lists, ignored for numbers and durations', () => {
  const env = {
    CONTAINER_LISTEN: '',
    CONTAINER_DROP_INFRA_CTR: '',
    CONTAINER_METRICS_PORT: '',
    CONTAINER_PULL_PROGRESS_TIMEOUT: '',
    CONTAINER_HOOKS_DIR: '',
  };
  const { given } = parseGlobalFlags([], env);
  assert.equal(given.get('crio.api.listen')?.value, '');
  assert.equal(given.get('crio.runtime.drop_infra_ctr')?.value, false);
  assert.deepEqual(given.get('crio.runtime.hooks_dir')?.value, ['']);
  assert.deepEqual([...given.keys()].toSorted(), ['crio.api.listen', 'crio.runtime.drop_infra_ctr', 'crio.runtime.hooks_dir']);
});

test('[A12] a variable that cannot be read stops every command, even where a flag would win', () => {
  const bool =
    'could not parse "x" as bool value from environment variable "CONTAINER_SELINUX" for flag selinux: strconv.ParseBool: parsing "x": invalid syntax';
  assert.equal(refusal(['--selinux=true'], { CONTAINER_SELINUX: 'x' }), bool);
  assert.match(
    refusal([], { CONTAINER_METRICS_PORT: 'x' }),
    /^could not parse "x" as int value from environment variable "CONTAINER_METRICS_PORT" for flag metrics-port: /,
  );
  assert.match(
    refusal([], { CNI_STATUS_GRACE_PERIOD: 'x' }),
    /^could not parse "x" as duration value from environment variable "CNI_STATUS_GRACE_PERIOD"/,
  );
});

test('help and version are told, not done', () => {
  for (const word of ['-h', '--help', '-help']) assert.equal(parseGlobalFlags([word], {}).help, true);
  for (const word of ['-v', '--version']) assert.equal(parseGlobalFlags([word], {}).version, true);
  assert.equal(parseGlobalFlags(['version', '-v'], {}).version, false);
});

test('flags of the command line are listed for the start log, lists joined by commas', () => {
  const { commandLine } = parseGlobalFlags(['--read-only', '--hooks-dir', '/a', '--hooks-dir', '/b'], { CONTAINER_LISTEN: '/x' });
  assert.deepEqual(commandLine, [
    { name: 'hooks-dir', text: '/a,/b' },
    { name: 'read-only', text: 'true' },
  ]);
});

test('the help has every flag that is not hidden, its variable and default, in lines that fit', () => {
  const text = flagHelp(80);
  for (const flag of listFlags()) assert.ok(text.includes(`  --${flag.name}`), flag.name);
  assert.ok(!text.includes('--address'));
  assert.match(text, /--listen string\n\s+Path of the unix socket\. \(default: \/var\/run\/crio\/crio\.sock\)\s+\[\$CONTAINER_LISTEN\]/);
  const long = text.split('\n').filter((line) => line.length > 80 && line.trim().includes(' '));
  assert.deepEqual(long, []);
});

test('whatever the command line holds, it parses or is a usage error', () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom('-l', '--listen', '--read-only=', '--metrics-port', '--', '-', '--hooks-dir=a,b', '--profile-port=9'),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (args) => {
      try {
        parseGlobalFlags(args, {});
      } catch (error) {
        assert.ok(error instanceof Failure && error.code === 'usage');
      }
    }),
  );
});
