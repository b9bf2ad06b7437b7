import { promisify } from 'node:util';
import { lastError, libc, syscallFailure } from './libc.ts';
import { constants } from 'node:os';

const socketFn = libc.func('int socket(int, int, int)');
const closeFn = libc.func('int close(int)');
const sendFn = libc.func('long send(int, const void *, size_t, int)');
/** Blocks until the kernel answers, which it does within the call that asked; run on libuv's pool all the same. */
const recvFn = libc.func('long recv(int, void *, size_t, int)');
const recvAsync = promisify(recvFn.async) as (fd: number, buffer: Buffer, length: number, flags: number) => Promise<number>;
const sendAsync = promisify(sendFn.async) as (fd: number, buffer: Buffer, length: number, flags: number) => Promise<number>;

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_NETFILTER = 12;
const CT_GET = 0x0101; // NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET
const CT_DELETE = 0x0102;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_DUMP = 0x300;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NESTED = 0x8000;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_DST_PORT = 3;
const CTA_ID = 12;
const CTA_FILTER = 25;
const CTA_FILTER_ORIG_FLAGS = 1;
const FILTER_BY_PROTOCOL_AND_DST_PORT = (1 << 3) | (1 << 5);
const UDP = 17;
const AF = { 4: 2, 6: 10 } as const;

/**
 * Forgets the tracked UDP flows of this network namespace whose original destination port is `port`, so that the
 * next packet meets the rules of now. Answers how many there were. The kernel filters the listing (5.8 and later);
 * what an older one sends besides is filtered here.
 */
export async function deleteUdpConntrack(family: 4 | 6, port: number): Promise<number> {
  const fd = Number(socketFn(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_NETFILTER));
  if (fd < 0) throw lastError('socket', 'NETLINK_NETFILTER');
  try {
    let deleted = 0;
    for (const flow of await dump(fd, family, port)) {
      const error = await request(fd, message(CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, family, flow));
      if (error === 0) deleted++;
      else if (error !== constants.errno.ENOENT) throw syscallFailure('netlink', 'conntrack delete', error);
    }
    return deleted;
  } finally {
    // Closing a netfilter socket waits for a grace period of the kernel's (15 ms): nobody needs to wait along.
    closeFn.async(fd, () => {});
  }
}

/** The attributes that name each matching flow: its original tuple and its id. */
async function dump(fd: number, family: 4 | 6, port: number): Promise<readonly Buffer[]> {
  const protocol = Buffer.concat([attribute(CTA_PROTO_NUM, Buffer.from([UDP])), attribute(CTA_PROTO_DST_PORT, bigEndian16(port))]);
  const filter = Buffer.concat([
    attribute(CTA_TUPLE_ORIG | NESTED, attribute(CTA_TUPLE_PROTO | NESTED, protocol)),
    attribute(CTA_FILTER | NESTED, attribute(CTA_FILTER_ORIG_FLAGS, nativeEndian32(FILTER_BY_PROTOCOL_AND_DST_PORT))),
  ]);
  await send(fd, message(CT_GET, NLM_F_REQUEST | NLM_F_DUMP, family, filter));
  const flows: Buffer[] = [];
  const buffer = Buffer.alloc(64 * 1024);
  for (;;) {
    const received = await receive(fd, buffer);
    for (const { type, body } of messages(received)) {
      if (type === NLMSG_DONE) return flows;
      if (type === NLMSG_ERROR) throw syscallFailure('netlink', 'conntrack list', -body.readInt32LE(0));
      const flow = matching(body.subarray(4), port);
      if (flow !== undefined) flows.push(flow);
    }
  }
}

function matching(attributes: Buffer, port: number): Buffer | undefined {
  const top = parseAttributes(attributes);
  const tuple = top.get(CTA_TUPLE_ORIG);
  const protocol = parseAttributes(parseAttributes(tuple ?? Buffer.alloc(0)).get(CTA_TUPLE_PROTO) ?? Buffer.alloc(0));
  if (tuple === undefined || protocol.get(CTA_PROTO_NUM)?.[0] !== UDP || protocol.get(CTA_PROTO_DST_PORT)?.readUInt16BE(0) !== port)
    return undefined;
  const id = top.get(CTA_ID);
  // Copies: the receive buffer is used again.
  return Buffer.concat([attribute(CTA_TUPLE_ORIG | NESTED, tuple), ...(id === undefined ? [] : [attribute(CTA_ID, id)])]);
}

/** Answers the errno of an acknowledged request, 0 for success. */
async function request(fd: number, data: Buffer): Promise<number> {
  await send(fd, data);
  const buffer = Buffer.alloc(8 * 1024);
  for (;;) {
    for (const { type, body } of messages(await receive(fd, buffer))) if (type === NLMSG_ERROR) return -body.readInt32LE(0);
  }
}

async function send(fd: number, data: Buffer): Promise<void> {
  if ((await sendAsync(fd, data, data.length, 0)) < 0) throw lastError('send', 'netlink');
}

async function receive(fd: number, buffer: Buffer): Promise<Buffer> {
  const length = await recvAsync(fd, buffer, buffer.length, 0);
  if (length <= 0) throw lastError('recv', 'netlink');
  return buffer.subarray(0, length);
}

/** struct nlmsghdr (16 bytes), struct nfgenmsg (4 bytes), attributes. */
function message(type: number, flags: number, family: 4 | 6, attributes: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt32LE(20 + attributes.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt8(AF[family], 16);
  return Buffer.concat([header, attributes]);
}

function* messages(data: Buffer): Generator<{ readonly type: number; readonly body: Buffer }> {
  for (let at = 0; at + 16 <= data.length;) {
    const length = data.readUInt32LE(at);
    if (length < 16) return;
    yield { type: data.readUInt16LE(at + 4), body: data.subarray(at + 16, at + length) };
    at += align(length);
  }
}

function attribute(type: number, value: Buffer): Buffer {
  const data = Buffer.alloc(align(4 + value.length));
  data.writeUInt16LE(4 + value.length, 0);
  data.writeUInt16LE(type, 2);
  value.copy(data, 4);
  return data;
}

function parseAttributes(data: Buffer): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= data.length;) {
    const length = data.readUInt16LE(at);
    if (length < 4) break;
    found.set(data.readUInt16LE(at + 2) & 0x3fff, data.subarray(at + 4, at + length));
    at += align(length);
  }
  return found;
}

function align(length: number): number {
  return (length + 3) & ~3;
}

function bigEndian16(value: number): Buffer {
  const data = Buffer.alloc(2);
  data.writeUInt16BE(value);
  return data;
}

/** x64 and arm64 are both little-endian. */
function nativeEndian32(value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeUInt32LE(value);
  return data;
}
