import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import type { Json } from '../../wire/index.ts';
import {
  Output,
  type PullEvent,
  Terminal,
  formatAge,
  formatElapsed,
  formatSize,
  printable,
  printableLines,
  progressBoard,
  shortId,
  toYaml,
  writeTable,
} from './index.ts';
import { boardLines } from './progress.ts';
import { escapeControls } from './yaml.ts';

class Recorder {
  text = '';
  readonly isTTY: boolean;
  constructor(isTTY = false) {
    this.isTTY = isTTY;
  }
  write(chunk: string | Uint8Array): boolean {
    this.text += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
    return true;
  }
}

describe('foreign text', () => {
  it('cannot steer a terminal', () => {
    assert.equal(printable('a\u001b[2Jb\nc\td\u009b31m\u202ee'), 'a\\x1b[2Jb\\nc\\td\\x9b31m\\u202ee');
    assert.equal(
      printableLines('\u001b[31mred\u001b[0m\t\u001b]0;title\u0007\r\nnext'),
      '\u001b[31mred\u001b[0m\t\\x1b]0;title\\x07\nnext',
    );
    assert.equal(printable('grüße 日本'), 'grüße 日本');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        // oxlint-disable-next-line no-control-regex -- their absence is the point
        assert.doesNotMatch(printable(text), /[\u0000-\u001f\u007f-\u009f]/);
      }),
    );
  });

  it('stays inside the strings of JSON and YAML output', () => {
    assert.equal(escapeControls(JSON.stringify('a\u009bb')), '"a\\u009bb"');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        // oxlint-disable-next-line no-control-regex -- their absence is the point
        assert.doesNotMatch(toYaml({ text }), /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
      }),
    );
  });
});

describe('YAML', () => {
  it('reads back as what it was made from, by either version of YAML', () => {
    const word = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom(
        'yes',
        'no',
        '1e3',
        '0x1f',
        '12:30',
        '~',
        'null',
        '- a',
        'a: b',
        'a #b',
        '...',
        '---',
        '.5',
        '=',
        '<<',
        '2026-01-02',
        'a:',
        "'",
        '!x',
        '&a',
        '*a',
        'docker.io/a/b:1',
      ),
    );
    const { json } = fc.letrec<{ json: Json }>((tie) => ({
      json: fc.oneof(
        { maxDepth: 4 },
        word,
        fc.boolean(),
        fc.integer(),
        fc.constant(null),
        fc.array(tie('json'), { maxLength: 4 }),
        fc.dictionary(word, tie('json'), { maxKeys: 4, noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(json, (value) => {
        const text = toYaml(value);
        for (const version of ['1.1', '1.2'] as const)
          assert.deepEqual(JSON.stringify(parse(text, { version })), JSON.stringify(value), text);
      }),
      { numRuns: 500 },
    );
  });

  it('is pleasant', () => {
    assert.equal(
      toYaml({ id: 'abc', image: 'docker.io/library/busybox:latest', list: ['a b', { k: '1', l: [] }], none: {} }),
      'id: abc\nimage: docker.io/library/busybox:latest\nlist:\n- a b\n- k: "1"\n  l: []\nnone: {}\n',
    );
  });
});

describe('tables and numbers', () => {
  it('stand in columns', () => {
    const out = new Recorder();
    writeTable(
      new Output(out, {}),
      ['ID', 'NAME'],
      [
        ['1', 'one\u001b'],
        ['22222', ''],
      ],
    );
    assert.equal(out.text, 'ID     NAME\n1      one\\x1b\n22222\n');
  });

  it('are short', () => {
    assert.deepEqual([0, 999, 1000, 4_260_000, 999_600, 10n ** 13n].map(formatSize), ['0B', '999B', '1kB', '4.26MB', '1MB', '10TB']);
    const now = 1_000_000_000_000;
    const ago = (seconds: number) => formatAge(BigInt(now - seconds * 1000) * 1_000_000n, now);
    assert.deepEqual([0, 1, 90, 130, 7200, 172_800].map(ago), [
      'just now',
      '1 second ago',
      '90 seconds ago',
      '2 minutes ago',
      '2 hours ago',
      '2 days ago',
    ]);
    assert.equal(formatAge(0n, now), '-');
    assert.deepEqual([850, 4200, 185_000].map(formatElapsed), ['850ms', '4.2s', '3m05s']);
    assert.equal(shortId(`sha256:${'ab'.repeat(32)}`), 'ababababababa');
  });

  it('have colours only for people who want them', () => {
    const styled = (tty: boolean, env: Record<string, string>): string => new Output(new Recorder(tty), env).paint('red', 'x');
    assert.equal(styled(true, {}), '\u001b[31mx\u001b[39m');
    assert.equal(styled(true, { NO_COLOR: '' }), '\u001b[31mx\u001b[39m');
    assert.equal(styled(true, { NO_COLOR: '1' }), 'x');
    assert.equal(styled(true, { TERM: 'dumb' }), 'x');
    assert.equal(styled(false, {}), 'x');
  });
});

describe('progress', () => {
  const MORE = { from: 'mirror:5000', isReused: false };
  const layers: PullEvent[] = [
    { ...MORE, layer: 'sha256:aaaa', stage: 'download', bytes: 50_000_000, total: 100_000_000 },
    { ...MORE, layer: 'sha256:bbbb', stage: 'unpack', bytes: 5_000_000, total: 10_000_000 },
    { ...MORE, layer: 'sha256:cccc', stage: 'done', bytes: 0, total: 40_000_000 },
    { ...MORE, layer: 'sha256:dddd', stage: 'done', bytes: 0, total: 900_000_000, isReused: true },
  ];

  it('[p16] shows the mirror, bytes, rate and what is left; what was there counts as nothing', () => {
    assert.deepEqual(boardLines('busybox', layers, 10_000), [
      'Pulling busybox  from mirror:5000  10.0s  100MB of 150MB  10MB/s  5.0s left',
      '  aaaa           downloading  [============            ]  50MB/100MB',
      '  bbbb           unpacking    [============            ]  5MB/10MB',
      '  cccc           done         40MB',
      '  dddd           is here already',
    ]);
    assert.deepEqual(boardLines('busybox', [], 900), ['Pulling busybox  900ms']);
  });

  it('is a line per layer where no person looks, and leaves no trace where one does', () => {
    const plain = new Recorder();
    const board = progressBoard(new Output(plain, {}), 'x');
    for (const layer of [...layers, ...layers]) board.update(layer);
    board.close();
    assert.equal(plain.text, 'Pulling x\nfrom mirror:5000\nlayer cccc done, 40MB\nlayer dddd is here already\n');
    const tty = new Recorder(true);
    const live = progressBoard(new Terminal(tty, tty, {}).err, 'x', () => 0);
    live.close();
    assert.equal(tty.text, 'Pulling x  0ms\n\u001b[1A\u001b[J');
  });
});
