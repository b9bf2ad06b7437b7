import { Failure, codeOf, kindOf, textOf } from '../../errors/index.ts';
import type { Logger } from '../../log/index.ts';
import { within } from '../../sync/index.ts';
import { Bus, type Signal } from './bus.ts';
import { type Value, type Variant, textValue } from './wire.ts';

const SYSTEMD = { destination: 'org.freedesktop.systemd1', path: '/org/freedesktop/systemd1' } as const;
const MANAGER = 'org.freedesktop.systemd1.Manager';
/** Jobs of systemd that are waited for at the same time: more would only wait there, and time out together (p10). */
const JOBS_AT_ONCE = 8;
/** As long as CRI-O waits [K44]. */
const JOB_TIMEOUT_MS = 6 * 60_000;
/** A signal that gets lost is noticed by looking at the unit, again and again after twice the time. */
const FIRST_LOOK_MS = 1000;
const MOST_BETWEEN_LOOKS_MS = 16_000;
const RECONNECT_MS = { first: 50, most: 2000 };
const SIGPIPE = 13;

export interface ScopeRequest {
  readonly unit: string;
  readonly slice: string;
  readonly pid: number;
  /** CPUs, by number; undefined for all. */
  readonly cpus?: readonly number[] | undefined;
  /** What runs in it: a monitor lives on when its slice is stopped. */
  readonly of: 'conmon' | 'image pull';
}

/**
 * Transient scopes of systemd, for monitors and pulls [K44–K47, I37]: a connection of our own to the system bus, made when it is first needed and anew
 * whenever it ends; so many jobs at a time; the end of a job is its signal, or what the unit itself says.
 */
export class SystemdScopes {
  readonly #path: string;
  readonly #log: Logger;
  readonly #jobTimeoutMs: number;
  readonly #jobs = new Map<string, { readonly done: (result: string) => void }>();
  #bus: Promise<Bus> | undefined;
  #running = 0;
  readonly #queue: (() => void)[] = [];

  /** `path` is the bus' socket. */
  constructor(path: string, log: Logger, jobTimeoutMs: number = JOB_TIMEOUT_MS) {
    this.#path = path;
    this.#log = log;
    this.#jobTimeoutMs = jobTimeoutMs;
  }

  /** Moves the process into a new scope; fails with CRI-O's texts [K45]. */
  async start(request: ScopeRequest): Promise<void> {
    if (this.#running >= JOBS_AT_ONCE) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#running++;
    try {
      await this.#start(request);
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  async close(): Promise<void> {
    const bus = await this.#bus?.catch(() => undefined);
    bus?.close();
  }

  async #start(request: ScopeRequest): Promise<void> {
    const { unit, pid, of } = request;
    const deadline = Date.now() + this.#jobTimeoutMs;
    for (let pause = RECONNECT_MS.first; ; pause = Math.min(pause * 2, RECONNECT_MS.most)) {
      try {
        const result = await this.#try(request, deadline);
        if (result === 'done') return;
        throw new Failure('Unknown', `error moving ${of} with pid ${pid} to systemd unit ${unit}: got ${result}`);
      } catch (error) {
        if (kindOf(error) !== 'Unavailable') throw error;
        if (Date.now() > deadline) throw timedOut(request, error);
        this.#log.warn(`The message bus failed while scope ${unit} was made, trying again: ${textOf(error)}`); // [K46]
        await within(pause);
      }
    }
  }

  /** What the job came to, as systemd calls it. */
  async #try(request: ScopeRequest, deadline: number): Promise<string> {
    const bus = await this.#connection();
    const job = Promise.withResolvers<string>();
    this.#jobs.set(request.unit, { done: job.resolve });
    try {
      await this.#ask(bus, request);
      let result: string | undefined;
      const ended = job.promise.then((text) => (result = text));
      for (let look = FIRST_LOOK_MS; result === undefined; look = Math.min(look * 2, MOST_BETWEEN_LOOKS_MS)) {
        if (Date.now() > deadline) throw timedOut(request);
        if (await within(look, ended, bus.ended)) {
          if (result === undefined) throw new Failure('Unavailable', 'the connection ended before the job did');
        } else if (await this.#isActive(bus, request.unit)) return 'done';
      }
      return result;
    } finally {
      this.#jobs.delete(request.unit);
    }
  }

  /** One that is there already is of a try whose answer was lost: its job, or what it is, tells the rest. */
  async #ask(bus: Bus, request: ScopeRequest): Promise<void> {
    const call = { ...SYSTEMD, interface: MANAGER, member: 'StartTransientUnit', signature: 'ssa(sv)a(sa(sv))' };
    try {
      await bus.call({ ...call, args: [request.unit, 'replace', properties(request), []] });
    } catch (error) {
      if (kindOf(error) === 'Unavailable' || codeOf(error) === 'org.freedesktop.systemd1.UnitExists') {
        if (kindOf(error) === 'Unavailable') throw error;
        return;
      }
      const text = `failed to add ${request.of} to systemd sandbox cgroup: start transient unit "${request.unit}": ${textOf(error)}`;
      throw new Failure('Unknown', text, { cause: error });
    }
  }

  async #isActive(bus: Bus, unit: string): Promise<boolean> {
    try {
      const [path] = await bus.call({ ...SYSTEMD, interface: MANAGER, member: 'GetUnit', signature: 's', args: [unit] });
      const properties = { interface: 'org.freedesktop.DBus.Properties', member: 'Get', signature: 'ss' };
      const args = ['org.freedesktop.systemd1.Unit', 'ActiveState'];
      const [state] = await bus.call({ ...SYSTEMD, path: textValue(path), ...properties, args });
      return (state as Variant).value === 'active';
    } catch (error) {
      if (kindOf(error) === 'Unavailable') throw error;
      return false; // Not loaded yet.
    }
  }

  #connection(): Promise<Bus> {
    this.#bus ??= this.#connect();
    return this.#bus;
  }

  async #connect(): Promise<Bus> {
    const forget = () => (this.#bus = undefined);
    try {
      const bus = await Bus.connect(this.#path, (signal) => this.#onSignal(signal));
      void bus.ended.then(forget);
      await bus.match(`type='signal',interface='${MANAGER}',member='JobRemoved',path='${SYSTEMD.path}'`);
      await bus.call({ ...SYSTEMD, interface: MANAGER, member: 'Subscribe' });
      return bus;
    } catch (error) {
      forget();
      throw new Failure('Unavailable', textOf(error), { cause: error });
    }
  }

  #onSignal({ interface: from, member, args }: Signal): void {
    if (from !== MANAGER || member !== 'JobRemoved') return;
    const [, , unit, result] = args;
    this.#jobs.get(textValue(unit))?.done(textValue(result));
  }
}

/** [K44, K47] */
function properties({ slice, pid, cpus, of }: ScopeRequest): Value[] {
  const property = (name: string, signature: string, value: Value): Value => [name, { signature, value }];
  return [
    property('PIDs', 'au', [pid]),
    property('Delegate', 'b', true),
    property('DefaultDependencies', 'b', false),
    // conmon ignores it: a stop of its slice leaves it to end with its container.
    ...(of === 'conmon' ? [property('KillSignal', 'i', SIGPIPE), property('After', 'as', ['crio.service'])] : []),
    property('Slice', 's', slice),
    ...(cpus === undefined ? [] : [property('AllowedCPUs', 'ay', cpuMask(cpus))]),
  ];
}

/** One bit for each CPU, the lowest first. */
function cpuMask(cpus: readonly number[]): number[] {
  const mask = Array.from({ length: Math.floor(Math.max(...cpus, 0) / 8) + 1 }, () => 0);
  for (const cpu of cpus) mask[cpu >> 3] = (mask[cpu >> 3] ?? 0) | (1 << (cpu & 7));
  return mask;
}

function timedOut({ pid, unit, of }: ScopeRequest, cause?: unknown): Failure {
  return new Failure('DeadlineExceeded', `timed out moving ${of} with pid ${pid} to systemd unit ${unit}`, {
    ...(cause === undefined ? {} : { cause }),
    advice: 'systemd or its message bus is overloaded: look at `systemctl list-jobs` and the log of dbus.',
  });
}
