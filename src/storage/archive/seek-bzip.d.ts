/** What bzip2.ts uses of seek-bzip 2.0.0, which brings no types: its decoder, block by block. */
declare module 'seek-bzip' {
  interface Input {
    readByte(): number;
    read(target: Buffer, offset: number, length: number): number;
  }
  interface Output {
    writeByte(byte: number): void;
  }
  /** Everything may throw TypeErrors. */
  class Bunzip {
    /** Reads the stream's header. */
    constructor(input: Input, output: Output);
    readonly reader: { read(bits: number): number };
    readonly streamCRC: number;
    /** Reads a block; false at the end of the stream, whose checksum comes next. */
    _init_block(): boolean;
    /** Writes what the block holds, and checks it. */
    _read_bunzip(): number;
    /** Begins with the next stream, at the next whole byte. */
    _start_bunzip(input: Input, output: Output): void;
  }
  export default Bunzip;
}
