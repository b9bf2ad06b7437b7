import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../../errors/index.ts';

const BLOCK = 512;
const NAME = 100;
/** What eleven octal digits hold. */
const MOST_OCTAL = 0o77777777777;
const TYPE = { file: '0', symlink: '2', directory: '5', pax: 'x' } as const;

/** A file or a tree as a tar stream (POSIX pax), its top named `name`. Failure for what is neither file, directory nor link. */
export async function* pack(path: string, name: string): AsyncGenerator<Buffer> {
  yield* packOne(path, name);
  yield Buffer.alloc(2 * BLOCK);
}

async function* packOne(path: string, name: string): AsyncGenerator<Buffer> {
  const stat = await lstat(path);
  const common = { mode: stat.mode & 0o7777, modified: Math.floor(stat.mtimeMs / 1000) };
  if (stat.isDirectory()) {
    yield* header({ ...common, type: TYPE.directory, name: `${name}/`, size: 0 });
    for (const entry of (await readdir(path)).toSorted()) yield* packOne(join(path, entry), `${name}/${entry}`);
  } else if (stat.isSymbolicLink()) {
    yield* header({ ...common, type: TYPE.symlink, name, size: 0, link: await readlink(path) });
  } else if (stat.isFile()) {
    yield* header({ ...common, type: TYPE.file, name, size: stat.size });
    yield* contents(path, stat.size);
  } else throw new Failure('InvalidArgument', `cannot copy ${path}: neither a file nor a directory nor a link`);
}

/** Exactly so many bytes, whatever becomes of the file meanwhile. */
async function* contents(path: string, size: number): AsyncGenerator<Buffer> {
  let left = size;
  if (size > 0) {
    for await (const chunk of createReadStream(path, { end: size - 1 })) {
      left -= (chunk as Buffer).length;
      yield chunk as Buffer;
    }
  }
  if (left > 0) throw new Failure('Unavailable', `${path} became shorter while it was copied`, { advice: 'Copy it again.' });
  if (size % BLOCK !== 0) yield Buffer.alloc(BLOCK - (size % BLOCK));
}

interface Member {
  readonly type: string;
  readonly name: string;
  readonly mode: number;
  readonly modified: number;
  readonly size: number;
  readonly link?: string;
}

/** A header; what does not fit into it stands in an extended one before it. */
function* header(member: Member): Generator<Buffer> {
  const { name, link = '', size } = member;
  const records: string[] = [];
  if (Buffer.byteLength(name) > NAME) records.push(record('path', name));
  if (Buffer.byteLength(link) > NAME) records.push(record('linkpath', link));
  if (size > MOST_OCTAL) records.push(record('size', String(size)));
  if (records.length > 0) {
    const body = Buffer.from(records.join(''));
    yield block({ type: TYPE.pax, name: 'pax', mode: 0o644, modified: 0, size: body.length });
    yield Buffer.concat([body, Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK)]);
  }
  yield block({ ...member, size: Math.min(size, MOST_OCTAL) });
}

/** `<length> <key>=<value>\n`, its length counted in itself. */
function record(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + 1;
  while (String(length).length + rest !== length) length = String(length).length + rest;
  return `${length} ${key}=${value}\n`;
}

function block({ type, name, mode, modified, size, link = '' }: Member): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number) =>
    void bytes.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  bytes.write(name, 0, NAME);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(Math.max(0, modified), 136, 12);
  bytes.write('        ', 148, 'latin1');
  bytes.write(type, 156, 'latin1');
  bytes.write(link, 157, NAME);
  bytes.write('ustar\u000000', 257, 'latin1');
  octal(
    bytes.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return bytes;
}
