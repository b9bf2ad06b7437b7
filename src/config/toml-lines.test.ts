import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse, stringify } from 'smol-toml';
import { isTable } from './schema/index.ts';
import { keyLines } from './toml-lines.ts';

const TEXT = `# comment = 1
[crio]
root = "/a" # root = 2
list = [
  "x", # ]
  '''
  [crio.api] ''',
  { inner = "}" },
]
text = """
[fake]
key = 1 \\""" """

  [crio . "api x"]
  "quo\\u0074ed" = 1
  'li"teral' = 1979-05-27 07:32:00
dotted.key."x.y" = { a = 1, b.c = [1, 2], d = {} }
[crio.last] # end
key=1`;

test('each key and table has its line, through comments, strings, arrays and inline tables', () => {
  const line = keyLines(TEXT);
  const cases: readonly (readonly [string[], number])[] = [
    [['crio'], 2],
    [['crio', 'root'], 3],
    [['crio', 'list'], 4],
    [['crio', 'text'], 10],
    [['crio', 'api x'], 14],
    [['crio', 'api x', 'quoted'], 15],
    [['crio', 'api x', 'li"teral'], 16],
    [['crio', 'api x', 'dotted', 'key', 'x.y'], 17],
    [['crio', 'api x', 'dotted', 'key', 'x.y', 'b', 'c'], 17],
    [['crio', 'last', 'key'], 19],
  ];
  for (const [path, wanted] of cases) assert.equal(line(path), wanted, path.join('/'));
  assert.equal(line(['crio', 'root', 'below']), 3, 'the nearest table above');
  assert.equal(line(['nowhere']), 1);
});

test('for every document that smol-toml writes, the line of each scalar holds its key', () => {
  const value = fc.letrec<{ table: unknown; leaf: unknown }>((tie) => ({
    leaf: fc.oneof(fc.string({ unit: 'grapheme' }), fc.boolean(), fc.integer(), fc.array(fc.string(), { maxLength: 3 })),
    table: fc.dictionary(fc.string({ minLength: 1 }), fc.oneof({ depthSize: 'small' }, tie('leaf'), tie('table')), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
  })).table;
  fc.assert(
    fc.property(value, (document) => {
      let toml: string;
      try {
        toml = stringify(document);
        parse(toml);
      } catch {
        return; // lone surrogates and the like cannot be written
      }
      const lines = toml.split('\n');
      const lineOf = keyLines(toml);
      const check = (table: Readonly<Record<string, unknown>>, path: readonly string[]): void => {
        for (const [name, inner] of Object.entries(table)) {
          const at = [...path, name];
          if (isTable(inner)) check(inner, at);
          else assert.ok(Object.hasOwn(parse(restOf(lines, lineOf(at))), name), JSON.stringify(at));
        }
      };
      check(parse(toml), []);
    }),
    { numRuns: 300 },
  );
});

/** The statement that starts on a line: lines are added until they parse. */
function restOf(lines: readonly string[], line: number): string {
  for (let end = line; end <= lines.length; end++) {
    const text = lines.slice(line - 1, end).join('\n');
    try {
      parse(text);
      return text;
    } catch {
      continue;
    }
  }
  return '';
}

test('text that is no TOML ends the walk', () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom(...'[]{}="\'#\n ,.ab1\\'.split('')) }), (text) => keyLines(text)(['a']) >= 1));
});
