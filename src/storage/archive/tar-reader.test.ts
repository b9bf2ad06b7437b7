import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../../errors/index.ts';
import {
  type Member,
  archive,
  dir,
  file,
  gnuLong,
  hardLink,
  header,
  member,
  padded,
  sealed,
  symlink,
} from '../../../test/fixtures/tar-writer.ts';
import { type TarEntry, TarReader } from './tar-reader.ts';

interface Seen {
  readonly entry: TarEntry;
  contents: Buffer;
}

/** Reads an archive in pieces of `step` bytes; checks that raw bytes and contents together are the archive. */
function read(bytes: Buffer, step = bytes.length): Seen[] {
  const seen: Seen[] = [];
  const all: Buffer[] = [];
  let current: Seen | undefined;
  const reader = new TarReader({
    raw: (raw) => void all.push(Buffer.from(raw)),
    begin: (entry) => void seen.push((current = { entry, contents: Buffer.alloc(entry.sparse ? entry.size : 0) })),
    data: (data, position) => {
      assert.ok(current);
      if (current.entry.sparse) data.copy(current.contents, position);
      else {
        assert.equal(position, current.contents.length);
        current.contents = Buffer.concat([current.contents, data]);
        all.push(Buffer.from(data));
      }
    },
    end: () => {
      assert.equal(current?.contents.length, current?.entry.size);
      current = undefined;
    },
  });
  for (let at = 0; at < bytes.length; at += Math.max(step, 1)) reader.push(bytes.subarray(at, at + Math.max(step, 1)));
  reader.finish();
  assert.ok(Buffer.concat(all).equals(bytes), 'raw bytes and contents are the whole archive');
  return seen;
}

function only(bytes: Buffer): TarEntry {
  const seen = read(bytes);
  assert.equal(seen.length, 1);
  assert.ok(seen[0]);
  return seen[0].entry;
}

function refuses(bytes: Buffer, why?: RegExp): void {
  assert.throws(
    () => read(bytes),
    (error: unknown) => error instanceof Failure && error.code === 'BAD_ARCHIVE' && (why?.test(error.message) ?? true),
  );
}

test('[a39] archives of the test writer come back, in pieces of any size', () => {
  const name = fc.stringMatching(/^[a-z\xe0-\xff.]{1,20}(\/[a-z]{1,20}){0,3}$/);
  const one = fc.record({
    name,
    contents: fc.uint8Array({ maxLength: 1500 }).map((bytes) => Buffer.from(bytes)),
    mode: fc.nat(0o7777),
    uid: fc.nat(2 ** 32 - 2),
    gid: fc.nat(2 ** 32 - 2),
    mtime: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
    pax: fc.option(fc.record({ path: name, value: fc.uint8Array({ maxLength: 300 }) }), { nil: undefined }),
    format: fc.constantFrom('ustar', 'gnu', 'v7'),
  });
  fc.assert(
    fc.property(fc.array(one, { maxLength: 4 }), fc.integer({ min: 1, max: 2000 }), fc.nat(3000), (members, step, trailing) => {
      const written = members.map(({ pax, ...rest }): Member => {
        if (pax === undefined) return rest;
        return {
          ...(rest as Member),
          pax: [
            ['path', pax.path],
            ['SCHILY.xattr.user.x', Buffer.from(pax.value)],
          ],
        };
      });
      const seen = read(Buffer.concat([archive(...written), Buffer.alloc(trailing, 7)]), step);
      assert.equal(seen.length, members.length);
      for (const [i, { entry, contents }] of seen.entries()) {
        const want = members[i];
        assert.ok(want);
        assert.equal(entry.name, want.pax?.path ?? want.name);
        assert.deepEqual([entry.mode, entry.uid, entry.gid], [want.mode, want.uid, want.gid]);
        assert.deepEqual(entry.modified, { seconds: want.mtime, nanoseconds: 0 });
        assert.ok(contents.equals(want.contents));
        assert.deepEqual(entry.xattrs.get('user.x'), want.pax === undefined ? undefined : Buffer.from(want.pax.value));
      }
    }),
  );
});

test('[a39] [a40] whatever the bytes are, nothing but a Failure comes out', () => {
  const harmless = { raw: () => {}, begin: () => {}, data: () => {}, end: () => {} };
  const swallow = (bytes: Buffer) => {
    const reader = new TarReader(harmless);
    try {
      reader.push(bytes);
      reader.finish();
    } catch (error) {
      assert.ok(error instanceof Failure, String(error));
    }
  };
  const good = archive(
    dir('d/'),
    file('d/f', 'x'.repeat(700), {
      pax: [
        ['size', '700'],
        ['mtime', '1.5'],
        ['SCHILY.xattr.user.a', 'b'],
      ],
    }),
    gnuLong('L', 'l'.repeat(300)),
    symlink('s', 't'),
    { name: 'g', type: 'g', contents: Buffer.from('9 a=b\n\n\n\n') },
    sparse10(
      'big',
      [
        [0, 3],
        [10_000, 2],
      ],
      20_000,
    ),
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 3000 }), (bytes) => swallow(Buffer.from(bytes))));
  // A valid archive with bytes changed and the checksums of its blocks made right again gets past the first door.
  const edit = fc.tuple(fc.nat(good.length - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), fc.boolean(), fc.nat(good.length), (edits, seal, length) => {
      const bytes = Buffer.from(good);
      for (const [at, value] of edits) {
        bytes[at] = value;
        const block = bytes.subarray(at - (at % 512), at - (at % 512) + 512);
        if (seal && block.toString('latin1', 257, 262) === 'ustar') sealed(block);
      }
      swallow(bytes.subarray(0, seal ? bytes.length : length));
    }),
    { numRuns: 2000 },
  );
});

function sparse10(name: string, extents: readonly (readonly [number, number])[], size: number): Buffer {
  const map = `${extents.length}\n${extents.map(([offset, length]) => `${offset}\n${length}\n`).join('')}`;
  const data = Buffer.concat(extents.map(([, length], i) => Buffer.alloc(length, 0x61 + i)));
  return member({
    name: `GNUSparseFile.0/${name}`,
    contents: Buffer.concat([padded(Buffer.from(map)), data]),
    pax: [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.name', name],
      ['GNU.sparse.realsize', String(size)],
    ],
  });
}

test('sparse files in the pax forms 0.0, 0.1 and 1.0 are expanded', () => {
  const expected = Buffer.alloc(20_000);
  expected.write('aaa', 0);
  expected.write('bb', 10_000);
  const contents = Buffer.from('aaabb');
  const forms = {
    '1.0': sparse10(
      'big',
      [
        [0, 3],
        [10_000, 2],
        [20_000, 0],
      ],
      20_000,
    ),
    '0.1': member({
      name: 'GNUSparseFile.0/big',
      contents,
      pax: [
        ['GNU.sparse.size', '20000'],
        ['GNU.sparse.numblocks', '2'],
        ['GNU.sparse.map', '0,3,10000,2'],
        ['GNU.sparse.name', 'big'],
      ],
    }),
    '0.0': member({
      name: 'big',
      contents,
      pax: [
        ['GNU.sparse.size', '20000'],
        ['GNU.sparse.numblocks', '2'],
        ['GNU.sparse.offset', '0'],
        ['GNU.sparse.numbytes', '3'],
        ['GNU.sparse.offset', '10000'],
        ['GNU.sparse.numbytes', '2'],
      ],
    }),
  };
  for (const [form, bytes] of Object.entries(forms)) {
    for (const step of [1, 100, 512, 5000]) {
      const seen = read(archive(bytes, file('after', 'x')), step);
      assert.deepEqual(
        seen.map(({ entry }) => [entry.name, entry.size, entry.sparse]),
        [
          ['big', 20_000, true],
          ['after', 1, false],
        ],
        form,
      );
      assert.ok(seen[0]?.contents.equals(expected), form);
    }
  }
  assert.equal(only(archive(sparse10('hole', [], 1e6))).size, 1e6);
});

test('[a40] sparse maps that lie are refused before anything is written', () => {
  for (const extents of [
    [
      [5, 3],
      [0, 1],
    ],
    [
      [0, 10],
      [5, 10],
    ],
    [[19_999, 2]],
  ] as const)
    refuses(archive(sparse10('x', extents, 20_000)), /sparse map/);
  const claims = (body: string) =>
    archive({
      name: 'x',
      contents: padded(Buffer.from(body)),
      pax: [
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.realsize', '9'],
      ],
    });
  refuses(claims('99999999999\n'), /too long/);
  refuses(claims('1\n0\n9\n'), /more or less/);
  refuses(claims('1\n-1\n9\n'), /no|none/);
  refuses(claims('1'.repeat(400)), /too long/);
  const huge = Buffer.from(`600000\n${'0\n'.repeat(1_200_000)}`);
  refuses(claims(huge.toString()), /larger than 1 MiB/);
  refuses(
    archive({
      name: 'x',
      pax: [
        ['GNU.sparse.offset', '0'],
        ['GNU.sparse.offset', '0'],
      ],
    }),
    /out of order/,
  );
});

test('[a39] GNU long names and links, also together with pax, and base-256 numbers', () => {
  const long = `${'n'.repeat(200)}/${'m'.repeat(5000)}`;
  const entry = only(
    archive(gnuLong('K', 'target'.repeat(50)), gnuLong('L', long), symlink('short', 'short', { format: 'gnu', uid: 2 ** 31 })),
  );
  assert.deepEqual([entry.name, entry.linkName, entry.uid], [long, 'target'.repeat(50), 2 ** 31]);
  assert.equal(only(archive(file('a', '', { prefix: 'p/q' }))).name, 'p/q/a');
  assert.equal(only(archive(file('a', '', { prefix: 'p/q', format: 'v7' }))).name, 'a');
  // Written by Go before 1.8: a GNU magic and yet a prefix.
  assert.equal(only(archive(file('a', '', { prefix: 'p/q', format: 'gnu' }))).name, 'p/q/a');
});

test('a pax path replaces the header, an empty one takes an earlier record back', () => {
  assert.equal(only(archive(file('harmless', '', { pax: [['path', '../../etc/passwd']] }))).name, '../../etc/passwd');
  assert.equal(
    only(
      archive(
        file('kept', '', {
          pax: [
            ['path', 'x'],
            ['path', ''],
          ],
        }),
      ),
    ).name,
    'kept',
  );
  const entry = only(
    archive(
      file('t', '', {
        pax: [
          ['mtime', '1234567890.123456789123'],
          ['atime', '-1.5'],
          ['uid', '70000'],
          ['unknown', '\0'],
        ],
      }),
    ),
  );
  assert.deepEqual(entry.modified, { seconds: 1_234_567_890, nanoseconds: 123_456_789 });
  assert.deepEqual(entry.accessed, { seconds: -2, nanoseconds: 500_000_000 });
  assert.equal(entry.uid, 70_000);
});

test('a global header is a member of its own and changes no other', () => {
  const seen = read(archive({ name: 'pax_global_header', type: 'g', contents: Buffer.from('9 uid=77\n') }, file('f', 'x')));
  assert.deepEqual(
    seen.map(({ entry }) => [entry.name, entry.uid]),
    [
      ['pax_global_header', 0],
      ['f', 0],
    ],
  );
});

test('type NUL is a directory if its name ends so, else a file; directories and links have no contents', () => {
  const seen = read(
    archive(dir('d/', { type: '\0' }), file('f', 'abc', { type: '\0' }), dir('e', { size: 100 }), hardLink('l', 'f', { size: 100 })),
  );
  assert.deepEqual(
    seen.map(({ entry }) => [String.fromCharCode(entry.type), entry.size]),
    [
      ['5', 0],
      ['0', 3],
      ['5', 0],
      ['1', 0],
    ],
  );
});

test('[a39] what no archive should say is refused: checksums, sizes, numbers, NUL in names', () => {
  const broken = header(file('x'));
  broken[0] = 0x79;
  refuses(Buffer.concat([broken, Buffer.alloc(1024)]), /checksum/);
  refuses(archive(header(file('x', '', { size: -1 }))), /negative|no number/);
  refuses(archive(header({ name: 'x', type: 'x', size: 2 * 1024 * 1024 })), /extended header of 2097152/);
  refuses(archive(header({ name: 'x', type: 'L', format: 'gnu', size: -5 })), /extended header|no number/);
  refuses(archive(file('x', '', { pax: [['path', 'a\0b']] })), /NUL/);
  refuses(archive(file('x', '', { pax: [['size', '-1']] })), /pax record/);
  refuses(archive(file('x', '', { pax: [['size', '99999999999999999999']] })), /pax record/);
  refuses(archive(file('x', '', { pax: [['mtime', 'soon']] })), /time/);
  for (const body of ['5 a=b', '9 a=b\n', '3 =\n', 'x a=b\n', '6 abc\n', '99999999999 a=b\n', '6 a=b\n\0\0\0'])
    refuses(archive({ name: 'x', type: 'x', contents: Buffer.from(body) }, file('f')), /pax/);
  const full = Buffer.from(header(file('x')));
  full.fill(0xff, 124, 136);
  full[124] = 0xbf;
  refuses(archive(sealed(full)), /no number/);
});

test('the end: missing markers are forgiven, half members are not, a header after half a marker is not', () => {
  assert.equal(read(Buffer.alloc(0)).length, 0);
  assert.equal(read(member(file('f', 'x'))).length, 1);
  assert.equal(read(Buffer.concat([member(file('f', 'x')), Buffer.alloc(512)])).length, 1);
  refuses(archive(file('f', 'x')).subarray(0, 1000), /unexpected end/);
  refuses(archive(file('f', 'x')).subarray(0, 300), /unexpected end/);
  refuses(Buffer.concat([Buffer.alloc(512), archive(file('f', 'x'))]), /end marker/);
  assert.equal(read(Buffer.concat([archive(), archive(file('hidden'))])).length, 0);
});
