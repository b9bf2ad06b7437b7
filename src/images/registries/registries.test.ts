import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, it } from 'node:test';
import { textOf } from '../../errors/index.ts';
import { formatReference, normaliseReference } from '../reference.ts';
import { mergeConf, parseRegistriesConf } from './conf.ts';
import { findRegistry, pullSources } from './find.ts';
import { loadRegistries } from './load.ts';
import { resolveShortName } from './short-names.ts';

const conf = (text: string) => parseRegistriesConf(text, '/etc/containers/registries.conf', false);
const HEX = 'b'.repeat(64);

describe('registries.conf', () => {
  it('[I15] is refused in the words of the reference', () => {
    const refused: readonly (readonly [string, string])[] = [
      ['[[registry]]\nlocation = "https://x.io"', "invalid location 'https://x.io': URI schemes are not supported"],
      ['[[registry]]\ninsecure = true', 'invalid condition: both location and prefix are unset'],
      ['[[registry]]\nprefix = "x.io"', 'invalid condition: location is unset and prefix is not in the format: *.example.com'],
      [
        '[[registry]]\nlocation = "x.io"\nblocked = true\n[[registry]]\nprefix = "y.io"\nlocation = "x.io"',
        "registry 'x.io' is defined multiple times with conflicting 'blocked' setting",
      ],
      [
        '[[registry]]\nlocation = "x.io"\ninsecure = true\n[[registry]]\nprefix = "y.io"\nlocation = "x.io"',
        "registry 'x.io' is defined multiple times with conflicting 'insecure' setting",
      ],
      ['[[registry]]\nlocation = "x.io"\n[[registry.mirror]]\ninsecure = true', 'invalid condition: mirror location is unset'],
      [
        '[[registry]]\nlocation = "x.io"\n[[registry.mirror]]\nlocation = "m.io"\npull-from-mirror = "never"',
        'unsupported pull-from-mirror value "never" for mirror "m.io"',
      ],
      ['[[registry]]\nlocation = "x.io"\npull-from-mirror = "all"', 'pull-from-mirror must not be set for a non-mirror registry "x.io"'],
      [
        '[[registry]]\nprefix = "*.x.io/team"\nlocation = "y.io"',
        'Wildcarded prefix should be in the format: *.example.com. Current prefix "*.x.io/team" is incorrectly formatted',
      ],
      ['unqualified-search-registries = ["a/b c"]', 'Invalid unqualified-search-registries entry "a/b c"'],
      [
        '[registries.search]\nregistries = ["x.io"]\n[[registry]]\nlocation = "y.io"',
        'mixing sysregistry v1/v2 is not supported: [registries.…] beside registry',
      ],
      ['[aliases]\n"a.io/b" = "c.io/d"', 'validating short-name aliases: invalid short name "a.io/b": must not contain registry'],
      ['[aliases]\nb = "c.io/d:tag"', 'validating short-name aliases: invalid alias "c.io/d:tag": must not contain tag'],
    ];
    for (const [text, expected] of refused)
      assert.throws(
        () => conf(text),
        (error) => textOf(error) === expected,
        expected,
      );
  });

  it('[I14] of the old format is read as the main file and refused as a drop-in', () => {
    const v1 =
      '[registries.search]\nregistries = ["a.io"]\n[registries.insecure]\nregistries = ["b.io"]\n[registries.block]\nregistries = ["c.io", "b.io"]';
    const read = conf(v1);
    assert.deepEqual(read.search?.registries, ['a.io']);
    assert.deepEqual(
      [...read.registries.values()].map((r) => [r.prefix, r.insecure, r.blocked]),
      [
        ['c.io', false, true],
        ['b.io', true, true],
      ],
    );
    assert.throws(() => parseRegistriesConf(v1, 'x', true), /registry must be in v2 format but is in v1/);
  });

  it('[I15] chooses the longest prefix, which ends at a border of the name', () => {
    const { registries, ...rest } = conf(
      ['x.io', 'x.io/team', 'x.io/team/app:1', '*.y.io', '*.b.y.io']
        .map((prefix) => `[[registry]]\nprefix = "${prefix}"\nlocation = "z.io/${prefix.length}"`)
        .join('\n'),
    );
    const found = (name: string) => findRegistry({ registries, ...rest }, name)?.prefix;
    assert.equal(found('x.io/other'), 'x.io');
    assert.equal(found('x.io/team'), 'x.io/team');
    assert.equal(found('x.io/teammate'), 'x.io');
    assert.equal(found('x.io/team/app:1'), 'x.io/team/app:1');
    assert.equal(found('x.io:5000/app'), 'x.io');
    assert.equal(found('x.iox/app'), undefined);
    assert.equal(found('a.y.io/app'), '*.y.io');
    assert.equal(found('a.b.y.io/app'), '*.b.y.io');
    assert.equal(found('y.io/app'), undefined);
    assert.equal(found('other.io/a.y.io'), undefined);
  });

  it('[I16] lists mirrors in their order, by tag or digest as they are meant, and the registry last', () => {
    const read = conf(`[[registry]]
prefix = "x.io/team"
location = "real.io/crew"
[[registry.mirror]]
location = "one.io"
insecure = true
[[registry.mirror]]
location = "two.io/cache/"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "three.io"
pull-from-mirror = "tag-only"`);
    const names = (text: string) => pullSources(read, normaliseReference(text)).map(({ reference }) => formatReference(reference));
    assert.deepEqual(names('x.io/team/app:1'), ['one.io/app:1', 'three.io/app:1', 'real.io/crew/app:1']);
    assert.deepEqual(names(`x.io/team/app@sha256:${HEX}`), [
      `one.io/app@sha256:${HEX}`,
      `two.io/cache/app@sha256:${HEX}`,
      `real.io/crew/app@sha256:${HEX}`,
    ]);
    assert.deepEqual(names('other.io/app'), ['other.io/app:latest']);
    assert.deepEqual(
      pullSources(read, normaliseReference('x.io/team/app')).map(({ endpoint }) => endpoint.insecure),
      [true, false, false],
    );
  });

  it('[I16] uses no mirror for tags where mirror-by-digest-only is set', () => {
    const read = conf('[[registry]]\nlocation = "x.io"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "m.io"');
    assert.equal(pullSources(read, normaliseReference('x.io/a:1')).length, 1);
    assert.equal(pullSources(read, normaliseReference(`x.io/a@sha256:${HEX}`)).length, 2);
  });

  it('[I17] forbids a blocked registry, not its mirrors', () => {
    const read = conf(`[[registry]]
prefix = "x.io"
location = "y.io"
blocked = true
[[registry.mirror]]
location = "m.io"
[[registry.mirror]]
location = "bad.io"
[[registry]]
location = "bad.io"
blocked = true`);
    assert.deepEqual(
      pullSources(read, normaliseReference('x.io/app')).map(({ blockedBy }) => blockedBy),
      [undefined, 'bad.io', 'x.io'],
    );
  });

  it('never lets a location without a host lead into the Docker Hub', () => {
    for (const location of ['mirror', 'Upper.io', 'x.io/a..b']) {
      const read = conf(`[[registry]]\nprefix = "x.io/app"\nlocation = "${location}"`);
      assert.throws(() => pullSources(read, normaliseReference('x.io/app:1')), /rewriting reference: /);
    }
  });

  it('[I15] keeps the name of a wildcard entry that has no location', () => {
    const read = conf('[[registry]]\nprefix = "*.x.io"\ninsecure = true\n[[registry.mirror]]\nlocation = "m.io/all"');
    const sources = pullSources(read, normaliseReference('a.x.io/app'));
    assert.deepEqual(
      sources.map(({ reference }) => formatReference(reference)),
      ['m.io/all/app:latest', 'a.x.io/app:latest'],
    );
    assert.deepEqual(
      sources.map(({ endpoint }) => endpoint.insecure),
      [false, true],
    );
  });
});

describe('short names', () => {
  const resolve = (text: string, toml: string, mode: 'enforcing' | 'disabled' | '' = 'enforcing') => {
    const { candidates, because } = resolveShortName(text, { conf: conf(toml), mode, confPath: '/etc/containers/registries.conf' });
    return { names: candidates.map(formatReference), because };
  };
  const two = 'unqualified-search-registries = ["a.io", "docker.io"]';

  it('[I10] are looked up as aliases first, with the tag or digest put back on', () => {
    const toml = `${two}\n[aliases]\napp = "quay.io/team/app"\n"org/tool" = "quay.io/tool"`;
    assert.deepEqual(resolve('app:2', toml), {
      names: ['quay.io/team/app:2'],
      because: 'Resolved "app" as an alias (/etc/containers/registries.conf)',
    });
    assert.deepEqual(resolve(`org/tool@sha256:${HEX}`, toml).names, [`quay.io/tool@sha256:${HEX}`]);
    assert.deepEqual(resolve('app', toml).names, ['quay.io/team/app:latest']);
  });

  it('[I10, I11] have one candidate a search registry where that is allowed', () => {
    assert.deepEqual(resolve('app', two, 'disabled'), {
      names: ['a.io/app:latest', 'docker.io/library/app:latest'],
      because: 'Resolving "app" using unqualified-search registries (/etc/containers/registries.conf)',
    });
    assert.deepEqual(resolve('app', 'unqualified-search-registries = ["a.io"]').names, ['a.io/app:latest']);
  });

  it('[I11, p19] are refused when they are ambiguous, naming candidates, file and way out', () => {
    for (const mode of ['enforcing', ''] as const) {
      assert.throws(() => resolve('app', two, mode), {
        message:
          'short name mode is enforcing, but image name app returns ambiguous list: a.io/app:latest, docker.io/library/app:latest (unqualified-search-registries in /etc/containers/registries.conf); write the full name, such as a.io/app:latest',
      });
    }
  });

  it('[I13] are refused where there is nothing to search', () => {
    assert.throws(() => resolve('app', ''), {
      message:
        'short-name "app" did not resolve to an alias and no unqualified-search registries are defined in "/etc/containers/registries.conf"',
    });
    const rules = { conf: conf(''), mode: '' as const, confPath: undefined };
    assert.throws(() => resolveShortName('app', rules), {
      message: 'short-name "app" did not resolve to an alias and no containers-registries.conf(5) was found',
    });
  });

  it('[I9] are not what begins with a host', () => {
    assert.deepEqual(resolve('localhost/app', two), { names: ['localhost/app:latest'], because: undefined });
    assert.deepEqual(resolve('docker.io/app:1', two).names, ['docker.io/library/app:1']);
    assert.throws(() => resolve('docker.io/App', two), {
      message: 'cannot parse input: "docker.io/App": repository name must be lowercase',
    });
    assert.throws(() => resolve('a b', two), { message: 'cannot parse input: "a b": invalid reference format' });
  });
});

describe('the files of registries.conf', () => {
  const dir = mkdtempSync(join(tmpdir(), 'registries-'));
  after(() => rmSync(dir, { recursive: true }));
  const file = (name: string, text: string) => {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };

  it('[I14] are merged in order, later entries replacing by prefix', async () => {
    const main = file(
      'main.conf',
      'unqualified-search-registries = ["a.io"]\n[[registry]]\nlocation = "x.io"\n[[registry]]\nlocation = "y.io"',
    );
    file('system/20.conf', '[[registry]]\nlocation = "x.io"\ninsecure = true');
    file('system/10.conf', '[[registry]]\nlocation = "x.io"\nblocked = true');
    file('system/10.txt', 'not read');
    file('user/00.conf', 'unqualified-search-registries = []\n[aliases]\napp = "b.io/app"');
    const aliasFile = file('cached.conf', '[aliases]\napp = "cached.io/app"\nother = "cached.io/other"');
    const paths = {
      files: [join(dir, 'missing.conf'), main],
      dirs: [join(dir, 'system'), join(dir, 'nowhere'), join(dir, 'user')],
      aliasFile,
    };
    const { conf: merged, path, foundAny } = await loadRegistries(paths);
    assert.equal(path, main);
    assert.equal(foundAny, true);
    assert.deepEqual([merged.registries.get('x.io')?.insecure, merged.registries.get('x.io')?.blocked], [true, false]);
    assert.ok(merged.registries.has('y.io'));
    assert.deepEqual(merged.search?.registries, []);
    assert.equal(merged.aliases.get('app')?.target?.domain, 'b.io');
    assert.equal(merged.aliases.get('other')?.target?.domain, 'cached.io');
  });

  it('[I14] may all be missing; a broken one is named', async () => {
    const none = await loadRegistries({ files: [join(dir, 'no')], dirs: [], aliasFile: '' });
    assert.equal(none.foundAny, false);
    assert.deepEqual([...mergeConf(none.conf, none.conf).registries], []);
    const broken = file('broken.conf', '[[registry]]\nlocation = "http://x"');
    await assert.rejects(loadRegistries({ files: [broken], dirs: [], aliasFile: '' }), {
      message: `loading registries configuration "${broken}": invalid location 'http://x': URI schemes are not supported`,
    });
  });
});
