/** `e_machine` of a file that begins with these bytes, elf(5); undefined if it is no ELF file. */
export function elfMachine(head: Buffer): number | undefined {
  if (head.length < 20 || head.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const isBigEndian = head[5] === 2;
  return isBigEndian ? head.readUInt16BE(18) : head.readUInt16LE(18);
}
