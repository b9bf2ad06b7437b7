/**
 * The pause program of the built-in image: a static ELF of ours for x86-64, assembled here because nothing may be downloaded
 * or compiled on a node. As init of a pod's PID namespace it reaps what is left to it and ends on SIGTERM or SIGINT.
 */
const LOAD_ADDRESS = 0x400000n;
const HEADER_BYTES = 64 + 56;

/** Masks of the signals it waits for: INT (2), TERM (15), CHLD (17); bit n−1 is signal n. */
const SIGNALS = (1 << 1) | (1 << 14) | (1 << 16);

// prettier-ignore
const CODE = [
  0x68, SIGNALS & 0xff, (SIGNALS >> 8) & 0xff, (SIGNALS >> 16) & 0xff, 0, // push SIGNALS
  0x31, 0xff,                         // xor edi, edi          SIG_BLOCK
  0x48, 0x89, 0xe6,                   // mov rsi, rsp
  0x31, 0xd2,                         // xor edx, edx
  0x6a, 0x08, 0x41, 0x5a,             // push 8; pop r10       size of a signal set
  0x6a, 0x0e, 0x58,                   // push 14; pop rax      rt_sigprocmask
  0x0f, 0x05,                         // syscall
  // wait:
  0x48, 0x89, 0xe7,                   // mov rdi, rsp
  0x31, 0xf6,                         // xor esi, esi
  0x31, 0xd2,                         // xor edx, edx
  0x6a, 0x08, 0x41, 0x5a,             // push 8; pop r10
  0xb8, 0x80, 0, 0, 0,                // mov eax, 128          rt_sigtimedwait
  0x0f, 0x05,                         // syscall
  0x83, 0xf8, 0x11,                   // cmp eax, SIGCHLD
  0x74, 0x13,                         // je reap
  0x83, 0xf8, 0x02,                   // cmp eax, SIGINT
  0x74, 0x05,                         // je end
  0x83, 0xf8, 0x0f,                   // cmp eax, SIGTERM
  0x75, 0xdf,                         // jne wait
  // end:
  0x31, 0xff,                         // xor edi, edi
  0xb8, 0xe7, 0, 0, 0,                // mov eax, 231          exit_group
  0x0f, 0x05,                         // syscall
  // reap:
  0x6a, 0xff, 0x5f,                   // push -1; pop rdi      any child
  0x31, 0xf6,                         // xor esi, esi
  0x6a, 0x01, 0x5a,                   // push 1; pop rdx       WNOHANG
  0x45, 0x31, 0xd2,                   // xor r10d, r10d
  0x6a, 0x3d, 0x58,                   // push 61; pop rax      wait4
  0x0f, 0x05,                         // syscall
  0x85, 0xc0,                         // test eax, eax
  0x7f, 0xec,                         // jg reap
  0xeb, 0xc0,                         // jmp wait
];

/** The bytes of `/pause`; undefined for a machine that it was not assembled for. */
export function pauseProgram(arch: string): Buffer | undefined {
  if (arch !== 'x64') return undefined;
  const size = BigInt(HEADER_BYTES + CODE.length);
  const elf = Buffer.alloc(HEADER_BYTES);
  elf.write('\x7fELF\x02\x01\x01', 'latin1'); // 64 bit, little endian, version 1
  elf.writeUInt16LE(2, 16); // executable
  elf.writeUInt16LE(62, 18); // x86-64
  elf.writeUInt32LE(1, 20);
  elf.writeBigUInt64LE(LOAD_ADDRESS + BigInt(HEADER_BYTES), 24); // entry
  elf.writeBigUInt64LE(64n, 32); // program headers
  elf.writeUInt16LE(64, 52);
  elf.writeUInt16LE(56, 54);
  elf.writeUInt16LE(1, 56); // one of them: all of the file, readable and executable
  elf.writeUInt32LE(1, 64);
  elf.writeUInt32LE(5, 68);
  elf.writeBigUInt64LE(LOAD_ADDRESS, 80);
  elf.writeBigUInt64LE(LOAD_ADDRESS, 88);
  elf.writeBigUInt64LE(size, 96);
  elf.writeBigUInt64LE(size, 104);
  elf.writeBigUInt64LE(0x1000n, 112);
  return Buffer.concat([elf, Buffer.from(CODE)]);
}
