import { isUtf8 } from 'node:buffer';
import { once } from 'node:events';
import { closeSync, openSync, writeSync } from 'node:fs';
import { createGzip } from 'node:zlib';
import { Crc64 } from './crc64.ts';
import { isAscii } from './names.ts';

/** Raw bytes of one line at most: trailing padding may be long. */
const MAX_SEGMENT = 1024 * 1024;
/** Text gathered before it goes to the compressor. */
const BATCH = 256 * 1024;

/**
 * Writes the tar-split of a layer: what is needed beside the unpacked tree to rebuild the very same tar stream
 * [cri-o-ondisk §4.6]. JSON lines, gzip level 1 on libuv's pool. The file is made by the constructor, mode 0600.
 */
export class TarSplitWriter implements Disposable {
  readonly #gzip = createGzip({ level: 1, chunkSize: 64 * 1024 });
  readonly #crc = new Crc64();
  #fd: number;
  #failure: Error | undefined;
  #position = 0;
  #segment = Buffer.allocUnsafe(4096);
  #segmentLength = 0;
  #lines = '';

  /** `path` must not exist yet. */
  constructor(path: string) {
    this.#fd = openSync(path, 'wx', 0o600);
    this.#gzip.on('data', (bytes: Buffer) => this.#write(bytes));
    this.#gzip.on('error', (error: Error) => (this.#failure ??= error));
  }

  /** Bytes of the archive that no file of the tree holds. Copied. */
  raw(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      const length = Math.min(bytes.length - at, MAX_SEGMENT - this.#segmentLength);
      this.#grow(this.#segmentLength + length);
      bytes.copy(this.#segment, this.#segmentLength, at, at + length);
      this.#segmentLength += length;
      at += length;
      if (this.#segmentLength === MAX_SEGMENT) this.#endSegment();
    }
  }

  /** A member begins; its contents follow through `contents`, if it has any. */
  begin(): void {
    this.#endSegment();
    this.#crc.reset();
  }

  contents(bytes: Buffer): void {
    this.#crc.update(bytes);
  }

  /** The member begun last has ended. `name` as in the archive, one byte per character; `size` of what `contents` got. */
  end(name: string, size: number): void {
    const rest =
      size === 0
        ? `"payload":null,"position":${this.#position}}`
        : `"size":${size},"payload":"${this.#crc.digest().toString('base64')}","position":${this.#position}}`;
    this.#line(`{"type":1,${nameField(name)},${rest}\n`);
  }

  /** Waits until the compressor has room again; throws what writing failed with. */
  async settled(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#gzip.writableNeedDrain) await once(this.#gzip, 'drain');
  }

  /** Closes the file; like the layer's own files it reaches the disk later [p27]. */
  async finish(): Promise<void> {
    this.#endSegment();
    this.#flush();
    this.#gzip.end();
    await once(this.#gzip, 'end');
    if (this.#failure !== undefined) throw this.#failure;
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    this.#gzip.destroy();
    closeSync(this.#fd);
    this.#fd = -1;
  }

  #endSegment(): void {
    if (this.#segmentLength === 0) return;
    const payload = this.#segment.toString('base64', 0, this.#segmentLength);
    this.#segmentLength = 0;
    this.#line(`{"type":2,"payload":"${payload}","position":${this.#position}}\n`);
  }

  #line(line: string): void {
    this.#position++;
    this.#lines += line;
    if (this.#lines.length >= BATCH) this.#flush();
  }

  #flush(): void {
    if (this.#lines === '') return;
    this.#gzip.write(Buffer.from(this.#lines, 'latin1')); // Everything that is not ASCII is escaped.
    this.#lines = '';
  }

  #grow(needed: number): void {
    if (needed <= this.#segment.length) return;
    const larger = Buffer.allocUnsafe(Math.min(MAX_SEGMENT, Math.max(needed, this.#segment.length * 4)));
    this.#segment.copy(larger, 0, 0, this.#segmentLength);
    this.#segment = larger;
  }

  #write(bytes: Buffer): void {
    if (this.#fd < 0 || this.#failure !== undefined) return;
    try {
      for (let written = 0; written < bytes.length;) written += writeSync(this.#fd, bytes, written);
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error), { cause: error });
    }
  }
}

function nameField(name: string): string {
  if (isAscii(name)) return `"name":${asGoWrites(JSON.stringify(name))}`;
  const bytes = Buffer.from(name, 'latin1');
  if (!isUtf8(bytes)) return `"name_raw":"${bytes.toString('base64')}"`;
  return `"name":${asGoWrites(JSON.stringify(bytes.toString('utf8')))}`;
}

/** encoding/json escapes `<`, `>`, `&`; beyond ASCII we escape too, which reads the same. */
function asGoWrites(json: string): string {
  return json.replace(/[<>&\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
