import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { Terminal } from '../render/index.ts';
import { LogPrinter, type LogEntry, mergeLogs, parseSince, readLog } from './index.ts';
import { LineSplitter, parseLogLine } from './parse.ts';
import { tailOffset } from './tail.ts';

const dir = mkdtempSync(join(tmpdir(), 'crio-logs-'));
after(() => rmSync(dir, { recursive: true }));
const TIME = '2026-01-02T03:04:05.123456789+00:00';
const entry = (text: string, tag = 'F', stream = 'stdout'): string => `${TIME} ${stream} ${tag} ${text}\n`;

async function texts(path: string, options: Parameters<typeof readLog>[1] = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const { text, full } of readLog(path, options)) found.push(text.toString() + (full ? '' : '+'));
  return found;
}

describe('a line of the log', () => {
  it('has time, stream, tag and text', () => {
    const parsed = (line: string): LogEntry | undefined => parseLogLine(Buffer.from(line));
    assert.deepEqual(parsed(`${TIME} stderr F a b `), { time: TIME, stream: 'stderr', full: true, text: Buffer.from('a b ') });
    assert.deepEqual(parsed(`${TIME} stdout P:x `), { time: TIME, stream: 'stdout', full: false, text: Buffer.alloc(0) });
    assert.equal(parsed(`${TIME} stdout F`)?.text.length, 0);
    for (const bad of ['', 'x', `${TIME} stdlog F x`, `${TIME} stdout X x`, 'a b']) assert.equal(parsed(bad), undefined, bad);
  });

  it('is found wherever the chunks are cut', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: fc.constantFrom('a', 'b', ' ') })), fc.integer({ min: 1, max: 7 }), (lines, size) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        const splitter = new LineSplitter();
        const found: string[] = [];
        for (let at = 0; at < bytes.length; at += size)
          for (const line of splitter.push(bytes.subarray(at, at + size))) found.push(line.toString());
        assert.deepEqual(found, lines);
        assert.equal(splitter.flush(), undefined);
      }),
    );
  });
});

describe('--tail', () => {
  it('starts where that many lines of output stand in the file, long lines counted once', async () => {
    const line = fc.record({ tag: fc.constantFrom('F', 'F', 'P'), size: fc.constantFrom(0, 3, 60_000, 70_000) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 12 }).filter((lines) => lines.at(-1)?.tag !== 'P'),
        fc.integer({ min: 0, max: 14 }),
        fc.boolean(),
        async (lines, count, torn) => {
          const path = join(dir, 'tail');
          const all = lines.map(({ tag, size }, index) => entry(`${index}${'x'.repeat(size)}`, tag));
          const content = all.join('');
          writeFileSync(path, torn ? content.slice(0, -1) : content);
          // The same by reading forward: a line of output starts where the file does and behind each entry that is full.
          const starts = all.flatMap((_, index) => (index === 0 || lines[index - 1]?.tag === 'F' ? [index] : []));
          const first = count === 0 ? all.length : (starts.at(-Math.min(count, starts.length)) ?? 0);
          await using file = await open(path);
          const size = (await file.stat()).size;
          const expected = Math.min(all.slice(0, first).join('').length, size);
          assert.equal((await tailOffset(file, size, count)).offset, expected);
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe('reading a log', () => {
  it('ends with the file, torn last line and foreign lines included', async () => {
    const path = join(dir, 'plain');
    writeFileSync(path, `${entry('one')}foreign\n${entry('two', 'P')}${entry('!')}${entry('torn').trimEnd()}`);
    assert.deepEqual(await texts(path), ['one', 'foreign', 'two+', '!', 'torn']);
    assert.deepEqual(await texts(path, { tail: 2 }), ['two+', '!', 'torn']);
    await assert.rejects(texts(join(dir, 'missing')), { kind: 'NotFound' });
  });

  it('follows what is added, through a rotation, until the container has ended', async () => {
    const path = join(dir, 'followed');
    writeFileSync(path, entry('one'));
    const end = Promise.withResolvers<void>();
    const found: string[] = [];
    for await (const { text } of readLog(path, { until: end.promise })) {
      const seen = text.toString();
      found.push(seen);
      if (seen === 'one') setImmediate(() => appendFileSync(path, entry('two')));
      if (seen === 'two') {
        setImmediate(() => {
          renameSync(path, `${path}.1`);
          appendFileSync(`${path}.1`, entry('last of the old'));
          writeFileSync(path, entry('first of the new'));
        });
      }
      if (seen === 'first of the new') {
        appendFileSync(path, entry('end'));
        end.resolve();
      }
    }
    assert.deepEqual(found, ['one', 'two', 'last of the old', 'first of the new', 'end']);
  });

  it('can be given up', async () => {
    const path = join(dir, 'quiet');
    writeFileSync(path, '');
    const stop = new AbortController();
    const reading = texts(path, { until: new Promise(() => {}), signal: stop.signal });
    setImmediate(() => stop.abort(new Error('enough')));
    await assert.rejects(reading, /enough/);
  });
});

it('printing puts lines together, keeps streams apart, and makes them harmless for a terminal', async () => {
  const record = (isTTY: boolean) => ({
    isTTY,
    text: '',
    write(chunk: string | Uint8Array) {
      this.text += Buffer.from(chunk as Uint8Array).toString();
      return true;
    },
  });
  const [out, err] = [record(false), record(true)];
  const printer = new LogPrinter(new Terminal(out, err, {}), { timestamps: true, prefix: 'web | ' });
  for (const [text, full, stream] of [
    ['a', false, 'stdout'],
    ['\u001b[2J', true, 'stderr'],
    ['b', true, 'stdout'],
  ] as const) {
    await printer.print({ time: 'T', stream, full, text: Buffer.from(text) });
  }
  assert.equal(out.text, 'web | T ab\n');
  assert.equal(err.text, 'web | T \\x1b[2J\n');
});

describe('rotated logs', () => {
  const lines = (from: number, to: number): string => Array.from({ length: to - from + 1 }, (_, n) => entry(String(from + n))).join('');
  const numbers = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, n) => String(from + n));
  const path = join(dir, 'rotated.log');
  writeFileSync(`${path}.20260101-000000.gz`, gzipSync(lines(1, 100)));
  writeFileSync(`${path}.20260102-000000.gz`, gzipSync(lines(101, 200)));
  writeFileSync(`${path}.20260103-000000`, lines(201, 300));
  writeFileSync(path, lines(301, 305));
  writeFileSync(`${path}.20260103-000000.gz`, 'half of it');
  writeFileSync(join(dir, 'rotated.log.old'), lines(9000, 9001));

  it('are read in order, compressed ones too', async () => {
    assert.deepEqual(await texts(path), numbers(1, 305));
  });

  it('give what the last lines lack', async () => {
    for (const count of [0, 3, 5, 6, 105, 106, 250, 304, 305, 400]) {
      assert.deepEqual(await texts(path, { tail: count }), numbers(Math.max(1, 306 - count), 305), String(count));
    }
  });
});

describe('--since', () => {
  it('is a duration or a time', () => {
    assert.equal(parseSince('90s', 100_000), 10_000);
    assert.equal(parseSince('2026-01-02T03:04:05+01:00', 0), Date.parse('2026-01-02T02:04:05Z'));
    for (const bad of ['', 'yesterday', '-5m', '12', '2026-13-01T00:00:00Z'])
      assert.throws(() => parseSince(bad, 0), { code: 'usage' }, bad);
  });

  it('leaves out what was written before', async () => {
    const path = join(dir, 'since.log');
    const at = (second: number, text: string) => `2026-01-02T03:04:0${second}.000000000+00:00 stdout F ${text}\n`;
    writeFileSync(path, at(1, 'a') + at(2, 'b') + at(3, 'c'));
    assert.deepEqual(await texts(path, { since: Date.parse('2026-01-02T03:04:02Z') }), ['b', 'c']);
  });
});

describe('several logs', () => {
  it('are merged by their times, to the nanosecond', async () => {
    const log = async function* (...times: string[]): AsyncGenerator<LogEntry> {
      for (const time of times) yield { time, stream: 'stdout', full: true, text: Buffer.from(time) };
    };
    const merged: string[] = [];
    for await (const {
      log: index,
      entry: { time },
    } of mergeLogs([log('1.1', '1.4'), log(), log('1.2', '1.3', '1.5')]))
      merged.push(`${index} ${time}`);
    assert.deepEqual(merged, ['0 1.1', '2 1.2', '2 1.3', '0 1.4', '2 1.5']);
  });
});
