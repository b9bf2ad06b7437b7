import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../../errors/index.ts';
import { parseNetworkList, parsePlugin, parseSinglePlugin } from './config.ts';

const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const list = (value: unknown) => parseNetworkList(bytes(value));

test('[H8] a list: name, versions, flags, plugins, capabilities; its bytes are kept', () => {
  const source = bytes({
    cniVersion: '0.4.0',
    name: 'net',
    disableCheck: 'TRUE',
    disableGC: true,
    plugins: [{ type: 'bridge' }, { type: 'portmap', capabilities: { portMappings: true, other: false } }],
  });
  const parsed = parseNetworkList(source);
  assert.equal(parsed.name, 'net');
  assert.equal(parsed.cniVersion, '0.4.0');
  assert.deepEqual([parsed.disableCheck, parsed.disableGc, parsed.loadOnlyInlinedPlugins], [true, true, false]);
  assert.deepEqual(
    parsed.plugins.map((plugin) => [plugin.type, [...plugin.capabilities]]),
    [
      ['bridge', []],
      ['portmap', ['portMappings']],
    ],
  );
  assert.equal(parsed.bytes, source);
});

test('[H8] of cniVersion and cniVersions the highest that we speak counts', () => {
  const versions = (cniVersions: readonly string[], cniVersion?: string) =>
    list({ name: 'n', cniVersions, ...(cniVersion === undefined ? {} : { cniVersion }), plugins: [{ type: 't' }] }).cniVersion;
  assert.equal(versions(['0.3.1', '1.1.0', '1.0.0', '2.0.0'], '0.4.0'), '1.1.0');
  assert.equal(versions(['0.3.1'], '1.0.0'), '1.0.0');
  assert.equal(versions(['9.0.0'], '0.4.0'), '0.4.0');
  assert.equal(versions([], ''), '');
});

test('[H8] what is wrong with a list is said in libcni’s words', () => {
  for (const [value, text] of [
    [{}, 'error parsing configuration list: no name'],
    [{ name: 1 }, 'error parsing configuration list: invalid name type float64'],
    [{ name: 'n', cniVersion: {} }, 'error parsing configuration list: invalid cniVersion type map[string]interface {}'],
    [{ name: 'n', cniVersions: [1] }, 'error parsing configuration list: invalid type for cniVersions index 0: float64'],
    [{ name: 'n', plugins: {} }, "error parsing configuration list: invalid 'plugins' type map[string]interface {}"],
    [{ name: 'n', plugins: [] }, 'error parsing configuration list: no plugins in list'],
    [{ name: 'n', plugins: [{}] }, "failed to parse plugin config 0: error parsing configuration: missing 'type'"],
    [{ name: 'n', disableGC: 'no', plugins: [{ type: 't' }] }, 'error parsing configuration list: invalid value "no" for disableGC'],
    [
      { name: 'n', loadOnlyInlinedPlugins: true },
      "error parsing configuration list: `loadOnlyInlinedPlugins` is true, and no 'plugins' key",
    ],
  ] as const)
    assert.throws(() => list(value), { name: 'Failure', message: text });
  assert.throws(() => list('{'), /^Failure: error parsing configuration list: /);
  assert.throws(() => parseSinglePlugin(bytes({ name: 'x' })), { message: "error parsing configuration: missing 'type'" });
});

test('[H5] a file with one plugin becomes a list of one, whose bytes are the wrapped form', () => {
  const parsed = parseSinglePlugin(bytes({ type: 'bridge', name: 'single', cniVersion: '0.3.1', mtu: 1400 }));
  assert.equal(parsed.name, 'single');
  assert.equal(
    Buffer.from(parsed.bytes).toString(),
    '{"cniVersion":"0.3.1","name":"single","plugins":[{"cniVersion":"0.3.1","mtu":1400,"name":"single","type":"bridge"}]}',
  );
});

test('[a77] any bytes parse or fail as a Failure, hostile keys stay data', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.uint8Array().map((raw) => Buffer.from(raw).toString('latin1')),
      ),
      (text) => {
        for (const parse of [parseNetworkList, parseSinglePlugin, parsePlugin]) {
          try {
            parse(Buffer.from(text));
          } catch (error) {
            assert.ok(error instanceof Failure, String(error));
          }
        }
      },
    ),
  );
  const hostile = list('{"name":"n","plugins":[{"type":"t","__proto__":{"polluted":true},"capabilities":{"__proto__":true}}]}');
  assert.deepEqual([...(hostile.plugins[0]?.capabilities ?? [])], ['__proto__']);
  assert.equal(Reflect.get({}, 'polluted'), undefined);
});

test('[H8] the configuration of the recorded node parses', () => {
  const recorded = readFileSync(new URL('./testdata/crio-bridge-eth0', import.meta.url), 'utf8');
  const { config } = JSON.parse(recorded) as { config: string };
  assert.deepEqual(
    parseNetworkList(Buffer.from(config, 'base64')).plugins.map((plugin) => plugin.type),
    ['bridge', 'portmap'],
  );
});
