import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { type Descriptor, descriptorPath, generate, generatedPath, propertyName } from '../../scripts/generate-wire.ts';
import { Failure } from '../errors/index.ts';
import * as wire from './index.ts';

type Plain = Record<string, unknown>;
interface AnyCodec {
  readonly name: string;
  encode(message: Plain): Buffer;
  decode(bytes: Uint8Array): Plain;
  create(partial: Plain): Plain;
}

const descriptor = JSON.parse(readFileSync(descriptorPath, 'utf8')) as Descriptor;
const peer = protobuf.Root.fromJSON(descriptor).resolveAll();
const peerTypes = collectTypes(peer.lookup('runtime.v1') as protobuf.Namespace);
const exported: Readonly<Record<string, unknown>> = wire;

function collectTypes(namespace: protobuf.Namespace): protobuf.Type[] {
  return namespace.nestedArray.filter((entry) => entry instanceof protobuf.Type);
}

function codecOf(type: protobuf.Type): AnyCodec {
  return exported[type.name] as AnyCodec;
}

// Generated messages in our shape.

const text = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 12 }), fc.string({ maxLength: 300 }));

function arbitraryValue(field: protobuf.Field): fc.Arbitrary<unknown> {
  const resolved = field.resolvedType;
  if (resolved instanceof protobuf.Type) return arbitraryMessage(resolved);
  if (resolved instanceof protobuf.Enum) return fc.integer();
  switch (field.type) {
    case 'string':
      return text;
    case 'bytes':
      return fc.uint8Array({ maxLength: 200 });
    case 'bool':
      return fc.boolean();
    case 'int32':
      return fc.integer();
    case 'uint32':
      return fc.nat({ max: 0xffffffff });
    case 'int64':
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case 'uint64':
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    case 'double':
      return fc.double();
    default:
      throw new Error(`no generator for ${field.type}`);
  }
}

function arbitraryField(field: protobuf.Field): fc.Arbitrary<unknown> {
  if (field.map) return fc.array(fc.tuple(text, text), { maxLength: 3 }).map((entries) => new Map(entries));
  const value = arbitraryValue(field);
  if (field.repeated) return fc.array(value, { maxLength: 3 });
  return field.resolvedType instanceof protobuf.Type ? fc.option(value, { nil: undefined }) : value;
}

const messageCache = new Map<string, fc.Arbitrary<Plain>>();
function arbitraryMessage(type: protobuf.Type): fc.Arbitrary<Plain> {
  let arbitrary = messageCache.get(type.name);
  if (arbitrary === undefined) {
    const model = Object.fromEntries(type.fieldsArray.map((field) => [propertyName(field.name), arbitraryField(field)]));
    arbitrary = fc.record(model, { noNullPrototype: true });
    messageCache.set(type.name, arbitrary);
  }
  return arbitrary;
}

// Our shape to and from the peer's.

function toPeerValue(field: protobuf.Field, value: unknown): unknown {
  if (field.resolvedType instanceof protobuf.Type) return toPeer(field.resolvedType, value as Plain);
  return typeof value === 'bigint' ? String(value) : value;
}

function toPeer(type: protobuf.Type, message: Plain): Plain {
  const out: Plain = {};
  for (const field of type.fieldsArray) {
    const value = message[propertyName(field.name)];
    if (value === undefined) continue;
    if (value instanceof Map) out[field.name] = Object.fromEntries(value);
    else if (field.repeated) out[field.name] = (value as unknown[]).map((element) => toPeerValue(field, element));
    else out[field.name] = toPeerValue(field, value);
  }
  return out;
}

function fromPeerValue(field: protobuf.Field, value: unknown): unknown {
  if (field.resolvedType instanceof protobuf.Type) return fromPeer(field.resolvedType, value as Plain);
  if (field.type === 'int64' || field.type === 'uint64') return BigInt(String(value));
  return field.type === 'bytes' ? new Uint8Array(value as Uint8Array) : value;
}

function fromPeer(type: protobuf.Type, message: Plain): Plain {
  const out: Plain = {};
  for (const field of type.fieldsArray) {
    const value = message[field.name];
    const property = propertyName(field.name);
    if (field.map) out[property] = new Map(Object.entries(value ?? {}));
    else if (field.repeated) out[property] = ((value ?? []) as unknown[]).map((element) => fromPeerValue(field, element));
    else if (field.resolvedType instanceof protobuf.Type)
      out[property] = value === undefined || value === null ? undefined : fromPeerValue(field, value);
    else out[property] = fromPeerValue(field, value);
  }
  return out;
}

/** protobufjs loses a map's key `__proto__` and orders numeric keys first; neither is our concern here. */
function peerCanHold(message: unknown): boolean {
  if (message instanceof Map) return !message.has('__proto__');
  if (message === null || typeof message !== 'object' || message instanceof Uint8Array) return true;
  return Object.values(message).every(peerCanHold);
}

test('the committed codecs are what the generator makes of the descriptor', () => {
  assert.equal(readFileSync(generatedPath, 'utf8'), generate(descriptor));
});

test('the generator refuses what it would lose', () => {
  const withTypes = (nested: object): Descriptor => ({ nested: { runtime: { nested: { v1: { nested } } } } }) as Descriptor;
  assert.throws(() => generate(withTypes({ A: { fields: { a: { type: 'A', id: 1 } } } })), /recursive message: A > A/);
  assert.throws(() => generate(withTypes({ A: { oneofs: {}, fields: {} } })), /oneof is not supported/);
  assert.throws(() => generate(withTypes({ A: { fields: { a: { type: 'B', id: 1 } } } })), /unknown type B/);
});

for (const type of peerTypes) {
  test(`${type.name}: protobufjs reads what we write, and the reverse`, () => {
    const codec = codecOf(type);
    assert.equal(codec.name, type.name);
    fc.assert(
      fc.property(arbitraryMessage(type).filter(peerCanHold), (message) => {
        const ours = codec.encode(message);
        const theirs = Buffer.from(type.encode(type.fromObject(toPeer(type, message))).finish());
        const read = type.toObject(type.decode(ours), { defaults: true, longs: String });
        assert.deepEqual(fromPeer(type, read), message);
        assert.deepEqual(codec.decode(theirs), message);
        assert.deepEqual(codec.decode(ours), message);
        assert.deepEqual(codec.create(message), message);
      }),
      { numRuns: 30 },
    );
  });
}

test('any bytes decode or fail as InvalidArgument, never otherwise', () => {
  const codecs = peerTypes.map(codecOf);
  const mutated = fc.constantFrom(...peerTypes).chain((type) =>
    fc.tuple(arbitraryMessage(type), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), fc.nat()).map(([message, edits, cut]) => {
      const bytes = Buffer.from(codecOf(type).encode(message));
      for (const [at, value] of edits) if (bytes.length > 0) bytes[at % bytes.length] = value;
      return { codec: codecOf(type), bytes: bytes.subarray(0, bytes.length - (cut % 3)) };
    }),
  );
  const random = fc.record({ codec: fc.constantFrom(...codecs), bytes: fc.uint8Array({ maxLength: 100 }) });
  fc.assert(
    fc.property(fc.oneof(mutated, random), ({ codec, bytes }) => {
      try {
        codec.decode(bytes);
      } catch (error) {
        assert.ok(error instanceof Failure, String(error));
        assert.equal(error.kind, 'InvalidArgument');
      }
    }),
    { numRuns: 3000 },
  );
});

const bytes = (...values: number[]): Buffer => Buffer.from(values);
const repeat = (length: number, value: number): number[] => Array.from({ length }, () => value);
const refused = (codec: { decode(b: Uint8Array): unknown }, raw: Buffer, why: RegExp): void => {
  assert.throws(
    () => codec.decode(raw),
    (error: unknown) => error instanceof Failure && error.kind === 'InvalidArgument' && why.test(error.message),
    raw.toString('hex'),
  );
};

test('absent scalars have their defaults, absent messages are undefined, defaults are not sent', () => {
  const empty = wire.PodSandboxConfig.decode(bytes());
  assert.deepEqual(empty, wire.PodSandboxConfig.create());
  assert.equal(empty.hostname, '');
  assert.equal(empty.linux, undefined);
  assert.deepEqual(empty.labels, new Map());
  assert.equal(wire.PodSandboxConfig.encode(empty).length, 0);
  assert.equal(wire.Mount.encode({ readonly: false, propagation: 0, hostPath: '', uidMappings: [] }).length, 0);
});

test('unknown fields of every wire type are skipped', () => {
  const known = wire.VersionRequest.encode({ version: 'v1' });
  const unknown = [
    bytes(0xf8, 0x01, 0x96, 0x01), // 31: varint
    bytes(0xf9, 0x01, 1, 2, 3, 4, 5, 6, 7, 8), // 31: 64 bits
    bytes(0xfa, 0x01, 2, 0xff, 0xff), // 31: length-delimited
    bytes(0xfb, 0x01, 0x0b, 0x08, 1, 0x0c, 0xfc, 0x01), // 31: group with a group inside
    bytes(0xfd, 0x01, 1, 2, 3, 4), // 31: 32 bits
    bytes(0x08, 0x05), // 1 as varint: a known number with another wire type
  ];
  for (const field of unknown) {
    assert.deepEqual(wire.VersionRequest.decode(Buffer.concat([field, known, field])), { version: 'v1' }, field.toString('hex'));
  }
});

test('malformed input is refused with a reason', () => {
  refused(wire.VersionRequest, bytes(0x0a), /truncated/);
  refused(wire.VersionRequest, bytes(0x0a, 5, 0x61), /truncated/);
  refused(wire.VersionRequest, bytes(0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), /truncated/);
  refused(wire.VersionRequest, bytes(0x0a, 2, 0xc3, 0x28), /invalid UTF-8/);
  refused(wire.VersionRequest, bytes(0x0a, 3, 0xed, 0xa0, 0x80), /invalid UTF-8/);
  refused(wire.VersionRequest, bytes(0x00, 0x00), /bad field number/);
  refused(wire.VersionRequest, bytes(0x80, 0x80, 0x80, 0x80, 0x10, 0x00), /bad field number/);
  refused(wire.VersionRequest, bytes(0x10, ...repeat(10, 0x80), 0), /longer than 64 bits/);
  refused(wire.VersionRequest, bytes(0x10, ...repeat(9, 0xff), 2), /longer than 64 bits/);
  refused(wire.VersionRequest, bytes(0x16), /unknown wire type 6/);
  refused(wire.VersionRequest, bytes(0x14), /not begun/);
  refused(wire.VersionRequest, bytes(0x13, 0x1c), /not begun/);
  refused(wire.VersionRequest, bytes(0x13), /truncated/);
  refused(wire.VersionRequest, bytes(...repeat(200, 0x13)), /nested too deeply/);
  // A string that runs out of its message into the field that follows.
  refused(wire.RunPodSandboxRequest, bytes(0x0a, 2, 0x12, 3, 0x61, 0x62, 0x63), /longer than its message/);
});

test('a replacement character that was really sent is text', () => {
  assert.equal(wire.VersionRequest.decode(wire.VersionRequest.encode({ version: 'a\ufffdb' })).version, 'a\ufffdb');
});

test('repeated numbers are read packed and unpacked, and written packed', () => {
  const supplementalGroups = [0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n)];
  const packed = wire.LinuxSandboxSecurityContext.encode({ supplementalGroups });
  assert.deepEqual(wire.LinuxSandboxSecurityContext.decode(packed).supplementalGroups, supplementalGroups);
  const peerType = peer.lookupType('runtime.v1.LinuxSandboxSecurityContext');
  assert.equal(packed[0], ((peerType.fields['supplemental_groups']?.id ?? 0) << 3) | 2);
  const tag = (packed[0] ?? 0) & ~7;
  const mixed = Buffer.concat([bytes(tag, 7), bytes(tag | 2, 2, 8, 9), bytes(tag, 10)]);
  assert.deepEqual(wire.LinuxSandboxSecurityContext.decode(mixed).supplementalGroups, [7n, 8n, 9n, 10n]);
});

test('a message sent in pieces is merged, the last scalar counts', () => {
  const first = wire.RunPodSandboxRequest.encode({
    runtimeHandler: 'a',
    config: { hostname: 'one', labels: new Map([['k', '1']]), metadata: { name: 'n', uid: 'u' } },
  });
  const second = wire.RunPodSandboxRequest.encode({
    runtimeHandler: 'b',
    config: { hostname: 'two', labels: new Map([['l', '2']]), metadata: { namespace: 's' } },
  });
  const merged = wire.RunPodSandboxRequest.decode(Buffer.concat([first, second]));
  assert.equal(merged.runtimeHandler, 'b');
  assert.equal(merged.config?.hostname, 'two');
  assert.deepEqual(merged.config?.metadata, { name: 'n', uid: 'u', namespace: 's', attempt: 0 });
  assert.deepEqual(
    [...(merged.config?.labels ?? [])],
    [
      ['k', '1'],
      ['l', '2'],
    ],
  );
});

test('map entries may lack key or value, come in any order, hold unknown fields and repeat', () => {
  const labels = (...entries: Buffer[]): Map<string, string> => {
    const field = (entry: Buffer): Buffer => Buffer.concat([bytes((6 << 3) | 2, entry.length), entry]);
    return wire.PodSandboxConfig.decode(Buffer.concat(entries.map(field))).labels;
  };
  assert.deepEqual(labels(bytes()), new Map([['', '']]));
  assert.deepEqual(labels(bytes(0x0a, 1, 0x6b)), new Map([['k', '']]));
  assert.deepEqual(labels(bytes(0x12, 1, 0x76)), new Map([['', 'v']]));
  assert.deepEqual(labels(bytes(0x12, 1, 0x76, 0x18, 9, 0x0a, 1, 0x6b)), new Map([['k', 'v']]));
  assert.deepEqual(labels(bytes(0x0a, 1, 0x6b, 0x12, 1, 0x76), bytes(0x0a, 1, 0x6b, 0x12, 1, 0x77)), new Map([['k', 'w']]));
  const proto = new Map([
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ]);
  assert.deepEqual(wire.PodSandboxConfig.decode(wire.PodSandboxConfig.encode({ labels: proto })).labels, proto);
});

test('64-bit extremes and negative 32-bit numbers keep their value', () => {
  for (const value of [0n, 1n, 127n, 128n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 63n - 1n, -1n, -(2n ** 63n)]) {
    assert.equal(wire.Int64Value.decode(wire.Int64Value.encode({ value })).value, value);
  }
  assert.equal(wire.UInt64Value.decode(wire.UInt64Value.encode({ value: 2n ** 64n - 1n })).value, 2n ** 64n - 1n);
  const negative = wire.PortMapping.encode({ containerPort: -1 });
  assert.equal(negative.length, 11);
  assert.equal(wire.PortMapping.decode(negative).containerPort, -1);
  assert.equal(wire.PortMapping.decode(wire.PortMapping.encode({ protocol: 77 })).protocol, 77);
});

test('numbers that their type cannot hold are refused, not cut', () => {
  assert.throws(() => wire.PortMapping.encode({ containerPort: 2 ** 31 }), Failure);
  assert.throws(() => wire.PodSandboxMetadata.encode({ attempt: -1 }), Failure);
  assert.throws(() => wire.Int64Value.encode({ value: 2n ** 63n }), Failure);
  assert.throws(() => wire.UInt64Value.encode({ value: -1n }), Failure);
});

test('a list answer is the concatenation of its entries', () => {
  const items = Array.from({ length: 5 }, (_, index) => ({ id: `id${index}`, annotations: new Map([['a', 'x'.repeat(100 * index)]]) }));
  const entries = items.map((item) => wire.encodeRepeatedEntry(1, wire.PodSandbox, item));
  const whole = wire.ListPodSandboxResponse.encode({ items });
  assert.deepEqual(Buffer.concat(entries), whole);
  assert.ok(entries.every((entry) => entry.buffer.byteLength === entry.length));
  assert.equal(wire.encodeAnswer(wire.ListPodSandboxResponse, whole), whole);
  assert.deepEqual(wire.encodeAnswer(wire.ListPodSandboxResponse, { items }), whole);
});

type MethodShape = Pick<wire.Method<Plain, Plain>, 'path' | 'responseStream'> & Record<'request' | 'response', Pick<AnyCodec, 'name'>>;

test('services name path, codecs and streams of every method', () => {
  for (const service of ['RuntimeService', 'ImageService'] as const) {
    const methods = new Map(Object.entries<MethodShape>(wire.services[service]));
    const peerService = peer.lookupService(`runtime.v1.${service}`);
    assert.deepEqual([...methods.keys()], Object.keys(peerService.methods));
    for (const [name, method] of methods) {
      assert.equal(method.path, `/runtime.v1.${service}/${name}`);
      assert.equal(method.request.name, peerService.methods[name]?.requestType);
      assert.equal(method.response.name, peerService.methods[name]?.responseType);
      assert.equal(method.responseStream, peerService.methods[name]?.responseStream ?? false);
    }
  }
});

test('toJson spells messages as protobuf does', () => {
  const status = wire.ContainerStatus.create({
    id: 'x',
    state: wire.ContainerState.CONTAINER_EXITED,
    createdAt: 2n ** 60n,
    labels: new Map([['__proto__', 'safe']]),
    mounts: [{ propagation: wire.MountPropagation.PROPAGATION_BIDIRECTIONAL }, { propagation: 99 }],
  });
  const json = JSON.parse(JSON.stringify(wire.toJson(wire.ContainerStatus, status))) as Plain;
  assert.equal(json['state'], 'CONTAINER_EXITED');
  assert.equal(json['createdAt'], '1152921504606846976');
  assert.deepEqual(Object.keys(json['labels'] as object), ['__proto__']);
  assert.deepEqual(
    (json['mounts'] as Plain[]).map((mount) => mount['propagation']),
    ['PROPAGATION_BIDIRECTIONAL', 99],
  );
  assert.ok(!('image' in json));
  const config = wire.toJson(wire.ContainerConfig, wire.ContainerConfig.create({ cdiDevices: [{ name: 'vendor.com/gpu=0' }] }));
  assert.deepEqual((config as Plain)['CDIDevices'], [{ name: 'vendor.com/gpu=0' }]);
  assert.deepEqual(wire.toJson(wire.ExecSyncResponse, wire.ExecSyncResponse.create({ stdout: Buffer.from('hi') })), {
    stdout: 'aGk=',
    stderr: '',
    exitCode: 0,
  });
});
