import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Failure, codeOf, kindOf, textOf } from '../../errors/index.ts';
import type { Logger } from '../../log/index.ts';
import { type RunResult, run } from '../../process/index.ts';
import { step } from '../../steps/index.ts';
import { type Json, isObject, property } from './json.ts';
import { type Attachment, type CniCommand, pluginEnvironment } from './request.ts';
import { endStrays, nowInTicks } from './strays.ts';
import { CNI_VERSION } from './version.ts';

export interface Execution {
  readonly command: CniCommand;
  /** A promise: the plugin is started at once and waits for it. */
  readonly stdin: string | Promise<string>;
  readonly attachment?: Attachment;
  readonly deadline: Deadline;
}

/** When a chain of executions must have ended, and what may end it before. */
export interface Deadline {
  /** In milliseconds of `performance.now()`. */
  readonly at: number;
  readonly signal?: AbortSignal | undefined;
}

export function deadlineIn(ms: number, signal?: AbortSignal): Deadline {
  return { at: performance.now() + ms, signal };
}

/** A VERSION question has no place in a pod's deadline: plugins answer it in milliseconds. */
const VERSION_LIMIT_MS = 10_000;
const BUSY_RETRIES = 5;
const BUSY_WAIT_MS = 1000;
const MAX_RESULT_BYTES = 4 * 1024 * 1024;

/** Finds plugins and executes them: array arguments, an explicit environment, a deadline each. */
export class Plugins {
  readonly #dirs: readonly string[];
  readonly #environment: Readonly<Record<string, string>>;
  readonly #log: Logger;
  /** Versions by file identity, so that a reload of the configuration executes only what has changed. */
  readonly #versions = new Map<string, readonly string[]>();

  constructor(o: { readonly dirs: readonly string[]; readonly environment: Readonly<Record<string, string>>; readonly log: Logger }) {
    this.#dirs = o.dirs;
    this.#environment = o.environment;
    this.#log = o.log;
  }

  /** The first regular file of that name in plugin_dirs [H2]. A type is one path element (CVE-2021-20206, needs a56). */
  async find(type: string): Promise<string> {
    return (await this.#locate(type)).path;
  }

  /** Executes a plugin by its type and answers its stdout. Fails with libcni's texts [H34]. */
  async execute(type: string, execution: Execution): Promise<string> {
    const path = await this.find(type);
    return await step(`${type} ${execution.command}`, () => this.#run(path, execution));
  }

  /** As `execute`, but no step of an operation: for a plugin that only waits so far. */
  async executeAhead(type: string, execution: Execution): Promise<string> {
    return await this.#run(await this.find(type), execution);
  }

  /** Whether the plugin exists and speaks that version [H6, H9]; '' asks for 0.1.0. */
  async requireVersion(type: string, cniVersion: string): Promise<void> {
    const wanted = cniVersion === '' ? '0.1.0' : cniVersion;
    const { path, identity } = await this.#locate(type);
    let versions = this.#versions.get(identity);
    if (versions === undefined) this.#versions.set(identity, (versions = await this.#askVersions(path)));
    if (!versions.includes(wanted))
      throw new Failure('FailedPrecondition', `plugin ${type} does not support config version ${JSON.stringify(wanted)}`);
  }

  async #locate(type: string): Promise<{ readonly path: string; readonly identity: string }> {
    if (type === '') throw new Failure('InvalidArgument', 'no plugin name provided');
    if (type.includes('/') || type.includes('\0') || type === '.' || type === '..')
      throw new Failure('InvalidArgument', `invalid plugin name: ${type}`);
    for (const dir of this.#dirs) {
      const path = join(dir, type);
      const found = await stat(path).catch(() => undefined);
      if (found?.isFile() === true)
        return { path, identity: `${path} ${found.dev}:${found.ino} ${found.size} ${found.mtimeMs} ${found.mode}` };
    }
    throw new Failure('NotFound', `failed to find plugin ${JSON.stringify(type)} in path [${this.#dirs.join(' ')}]`, {
      advice: `Install the CNI plugin ${type} into one of plugin_dirs.`,
    });
  }

  async #askVersions(path: string): Promise<readonly string[]> {
    // The dummies are for plugins built against an older specification, which check them even for VERSION.
    const dummy: Attachment = { containerId: '', netns: 'dummy', netnsId: '', ifName: 'dummy', args: [], capabilityArgs: {} };
    const execution = {
      command: 'VERSION',
      stdin: `{"cniVersion":"${CNI_VERSION}"}`,
      attachment: dummy,
      deadline: deadlineIn(VERSION_LIMIT_MS),
    } as const;
    let answer: string;
    try {
      answer = await this.#run(path, execution);
    } catch (error) {
      if (codeOf(error) === 'CNI_UNKNOWN_COMMAND') return ['0.1.0'];
      throw error;
    }
    return parseVersions(answer);
  }

  async #run(path: string, { command, stdin, attachment, deadline }: Execution): Promise<string> {
    const env = { ...this.#environment, ...pluginEnvironment(command, this.#dirs.join(':'), attachment) };
    for (let attempt = 0; ; attempt++) {
      const timeoutMs = Math.max(1, Math.ceil(deadline.at - performance.now()));
      const since = nowInTicks();
      try {
        const result = await run([path], {
          env,
          stdin,
          timeoutMs,
          maxOutput: MAX_RESULT_BYTES,
          ...(deadline.signal === undefined ? {} : { signal: deadline.signal }),
        });
        if (result.code !== 0) throw pluginFailure(result);
        if (result.stderr !== '') this.#log.debug(`CNI plugin ${path} (${command}): ${result.stderr.trimEnd()}`);
        return result.stdout.toString('utf8');
      } catch (error) {
        const cutOff = kindOf(error) === 'DeadlineExceeded' || deadline.signal?.aborted === true;
        if (cutOff && attachment !== undefined && attachment.containerId !== '') endStrays(attachment.containerId, since);
        // A plugin that is just being copied into place: wait for its writer, as libcni does [H34].
        if (codeOf(error) === 'ETXTBSY' && attempt < BUSY_RETRIES && deadline.at - performance.now() > BUSY_WAIT_MS) {
          await delay(BUSY_WAIT_MS, undefined, deadline.signal === undefined ? {} : { signal: deadline.signal });
        } else throw startOrTimeFailure(path, error);
      }
    }
  }
}

/** What a plugin that failed says of itself [H34]: `{code, msg, details}` on stdout, else its stderr, else its exit. */
export function pluginFailure(result: Pick<RunResult, 'code' | 'signal' | 'stderr'> & { readonly stdout: Uint8Array }): Failure {
  const how = result.signal === null ? `exit status ${result.code}` : `signal: ${signalText(result.signal)}`;
  const stdout = Buffer.from(result.stdout).toString('utf8');
  if (stdout === '') {
    const text = result.stderr === '' ? `with no error message: ${how}` : `: ${JSON.stringify(result.stderr)}`;
    return new Failure('Unknown', `netplugin failed${result.stderr === '' ? ' ' : ''}${text}`);
  }
  let json: Json;
  try {
    json = JSON.parse(stdout) as Json;
    if (!isObject(json)) throw new TypeError('not an object');
  } catch (error) {
    return new Failure('Unknown', `netplugin failed but error parsing its diagnostic message ${JSON.stringify(stdout)}: ${textOf(error)}`);
  }
  const [code, msg, details] = [property(json, 'code'), property(json, 'msg'), property(json, 'details')];
  const message = typeof msg === 'string' ? msg : '';
  const unknownCommand = message === 'unknown CNI_COMMAND: VERSION';
  return new Failure('Unknown', `${message}${typeof details === 'string' && details !== '' ? `; ${details}` : ''}`, {
    code: unknownCommand ? 'CNI_UNKNOWN_COMMAND' : `CNI_${typeof code === 'number' ? code : 0}`,
  });
}

/** A plugin's answer to VERSION. Fails with libcni's texts. */
export function parseVersions(text: string): readonly string[] {
  let json: Json;
  try {
    json = JSON.parse(text) as Json;
  } catch (error) {
    throw new Failure('Unknown', `decoding version info: ${textOf(error)}`);
  }
  const object = isObject(json) ? json : {};
  const own = property(object, 'cniVersion');
  if (typeof own !== 'string' || own === '') throw new Failure('Unknown', 'decoding version info: missing field cniVersion');
  const supported = property(object, 'supportedVersions');
  if (Array.isArray(supported) && supported.length > 0) return supported.filter((version: Json) => typeof version === 'string');
  if (own === '0.2.0') return ['0.1.0', '0.2.0'];
  throw new Failure('Unknown', 'decoding version info: missing field supportedVersions');
}

function startOrTimeFailure(path: string, error: unknown): unknown {
  if (kindOf(error) === 'DeadlineExceeded') {
    return new Failure('DeadlineExceeded', 'netplugin failed with no error message: signal: killed', {
      cause: error,
      advice: `The CNI plugin ${path} did not end in time and was killed, with what it had started; look at its own log.`,
    });
  }
  if (kindOf(error) === 'FailedPrecondition') {
    return new Failure('Unknown', `netplugin failed with no error message: fork/exec ${path}: ${textOf(error)}`, { cause: error });
  }
  return error;
}

function signalText(signal: NodeJS.Signals): string {
  const words: Readonly<Partial<Record<NodeJS.Signals, string>>> = {
    SIGKILL: 'killed',
    SIGTERM: 'terminated',
    SIGSEGV: 'segmentation fault',
    SIGABRT: 'aborted',
  };
  return words[signal] ?? signal;
}
