import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { Failure, codeOf } from '../errors/index.ts';
import { parseExactJson } from '../files/index.ts';
import type { LinuxSyscallArg, SeccompArch, SeccompCondition, SeccompProfile, SeccompRule } from './types.ts';

/** A profile is read whole; the largest known ones have some 30 KiB. */
const MAX_PROFILE_BYTES = 4 * 1024 * 1024;

/**
 * Reads a profile in containers' form, docker's form (archMap, includes, excludes, minKernel) or plain OCI form [G17].
 * Fails with InvalidArgument and the reason alone; callers prefix it with `decoding seccomp profile failed`.
 */
export function parseSeccompProfile(text: string): SeccompProfile {
  let json: unknown;
  try {
    json = parseExactJson(text);
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error));
  }
  const o = record(json, 'the profile');
  const architectures = strings(o['architectures'], 'architectures');
  const archMap = list(o['archMap'], 'archMap').map(archOf);
  if (architectures.length > 0 && archMap.length > 0)
    throw invalid("'architectures' and 'archMap' were specified in the seccomp profile, use either 'architectures' or 'archMap'");
  return {
    defaultAction: string(o['defaultAction'], 'defaultAction'),
    defaultErrnoRet: errnoOf(o['defaultErrno'], o['defaultErrnoRet'], 'defaultErrnoRet'),
    ...(archMap.length > 0 ? { archMap } : architectures.length > 0 ? { architectures } : {}),
    flags: strings(o['flags'], 'flags'),
    listenerPath: string(o['listenerPath'], 'listenerPath') || undefined,
    listenerMetadata: string(o['listenerMetadata'], 'listenerMetadata') || undefined,
    syscalls: list(o['syscalls'], 'syscalls').map(ruleOf),
  };
}

/** Reads and parses a profile file. ENOENT and the like keep their `code`; the text is Go's `open <path>: <reason>`. */
export async function loadSeccompProfile(path: string): Promise<SeccompProfile> {
  let data: Buffer;
  try {
    data = await readFile(path);
  } catch (error) {
    const code = codeOf(error);
    const reason = code === 'ENOENT' ? 'no such file or directory' : code === 'EISDIR' ? 'is a directory' : (code ?? 'read error');
    throw new Failure(code === 'ENOENT' ? 'NotFound' : 'Unknown', `open ${path}: ${reason}`, {
      cause: error,
      ...(code === undefined ? {} : { code }),
    });
  }
  if (data.length > MAX_PROFILE_BYTES) throw invalid(`the profile is larger than ${MAX_PROFILE_BYTES} bytes`);
  return parseSeccompProfile(data.toString('utf8'));
}

function archOf(value: unknown): SeccompArch {
  const o = record(value, 'archMap');
  return {
    architecture: string(o['architecture'], 'architecture'),
    subArchitectures: strings(o['subArchitectures'], 'subArchitectures'),
  };
}

function ruleOf(value: unknown): SeccompRule {
  const o = record(value, 'syscalls');
  const name = string(o['name'], 'name');
  const names = strings(o['names'], 'names');
  if (name !== '' && names.length > 0)
    throw invalid("'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'");
  return {
    names: name === '' ? names : [name],
    action: string(o['action'], 'action'),
    errnoRet: errnoOf(o['errno'], o['errnoRet'], 'errnoRet'),
    args: list(o['args'], 'args').map(argOf),
    includes: conditionOf(o['includes']),
    excludes: conditionOf(o['excludes']),
  };
}

function argOf(value: unknown): LinuxSyscallArg {
  const o = record(value, 'args');
  const valueTwo = unsigned(o['valueTwo'] ?? 0, 'valueTwo');
  return {
    index: Number(unsigned(o['index'] ?? 0, 'index')),
    value: unsigned(o['value'] ?? 0, 'value'),
    ...(valueTwo === 0 && o['op'] !== 'SCMP_CMP_MASKED_EQ' ? {} : { valueTwo }),
    op: string(o['op'], 'op'),
  };
}

function conditionOf(value: unknown): SeccompCondition {
  const o = value === undefined || value === null ? {} : record(value, 'includes and excludes');
  const minKernel = string(o['minKernel'], 'minKernel');
  return {
    caps: strings(o['caps'], 'caps'),
    arches: strings(o['arches'], 'arches'),
    ...(minKernel === '' ? {} : { minKernel }),
  };
}

/** A name (`EPERM`) goes before a number [G17]. */
function errnoOf(name: unknown, ret: unknown, field: string): number | undefined {
  const text = string(name, 'errno');
  if (text !== '') {
    const number = Object.entries(constants.errno).find(([known]) => known === text)?.[1];
    if (number === undefined) throw invalid(`unknown errno ${text}`);
    return number;
  }
  return ret === undefined || ret === null ? undefined : Number(unsigned(ret, field));
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${what} must be an object`);
  return value as Record<string, unknown>;
}

function list(value: unknown, field: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(`${field} must be a list`);
  return value;
}

function strings(value: unknown, field: string): readonly string[] {
  return list(value, field).map((item) => string(item, field));
}

function string(value: unknown, field: string): string {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw invalid(`${field} must be a string`);
  return value;
}

function unsigned(value: unknown, field: string): number | bigint {
  if (typeof value === 'bigint' && value >= 0n && value < 2n ** 64n) return value;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw invalid(`${field} must be an unsigned 64-bit number`);
}

function invalid(message: string): Failure {
  return new Failure('InvalidArgument', message);
}
