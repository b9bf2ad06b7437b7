import { MS } from '../linux/index.ts';

/** What an overlay mount of a layer is made of; paths absolute, lowers topmost first. */
export interface MountInputs {
  /** `H/<layer>`. */
  readonly layerDirectory: string;
  /** The mount point. */
  readonly target: string;
  /** The lower directories without the layer's own `diff`; empty for a base layer. */
  readonly lowers: readonly string[];
  /** `mountopt` of the configuration, single words. */
  readonly defaultOptions: readonly string[];
  /** Options of this mount; a non-empty list replaces the default one. */
  readonly options: readonly string[];
  readonly volatile: boolean;
  readonly metacopySupported: boolean;
  /** SELinux label or empty. */
  readonly label: string;
}

export interface MountPlan {
  readonly target: string;
  /** Flags of mount(2). */
  readonly flags: number;
  /** Topmost first; the own `diff` is among them in a read-only mount. */
  readonly lowers: readonly string[];
  readonly upper: { readonly upperdir: string; readonly workdir: string } | undefined;
  /** The other parameters, a value or a bare word each. */
  readonly parameters: readonly (readonly [key: string, value: string | undefined])[];
  /** The data string of mount(2), or undefined where it cannot say it: too long, or a path with a separator in it. */
  readonly data: string | undefined;
}

/** mount(2) takes one page, the final NUL included. */
const PAGE = 4096;

const FLAG_WORDS: ReadonlyMap<string, { readonly set?: number; readonly clear?: number }> = new Map([
  ['defaults', {}],
  ['ro', { set: MS.RDONLY }],
  ['rw', { clear: MS.RDONLY }],
  ['nosuid', { set: MS.NOSUID }],
  ['suid', { clear: MS.NOSUID }],
  ['nodev', { set: MS.NODEV }],
  ['dev', { clear: MS.NODEV }],
  ['noexec', { set: MS.NOEXEC }],
  ['exec', { clear: MS.NOEXEC }],
  ['sync', { set: MS.SYNCHRONOUS }],
  ['async', { clear: MS.SYNCHRONOUS }],
  ['dirsync', { set: MS.DIRSYNC }],
  ['mand', { set: MS.MANDLOCK }],
  ['nomand', { clear: MS.MANDLOCK }],
  ['noatime', { set: MS.NOATIME }],
  ['atime', { clear: MS.NOATIME }],
  ['nodiratime', { set: MS.NODIRATIME }],
  ['diratime', { clear: MS.NODIRATIME }],
  ['relatime', { set: MS.RELATIME }],
  ['norelatime', { clear: MS.RELATIME }],
  ['strictatime', { set: MS.STRICTATIME }],
  ['nostrictatime', { clear: MS.STRICTATIME }],
]);

/** The overlay mount of a layer (docs/reference/cri-o-ondisk.md §3.2) [J25]. */
export function planMount(inputs: MountInputs): MountPlan {
  const { layerDirectory, target, label } = inputs;
  const words = effectiveOptions(inputs);
  const readOnly = words.includes('ro');
  const flags = mountFlags(words);
  const rest = words.filter((word) => !FLAG_WORDS.has(word));
  if (inputs.volatile && !readOnly) rest.push('volatile');
  const below = inputs.lowers.length === 0 ? [`${layerDirectory}/empty`] : inputs.lowers;
  const lowers = readOnly ? [`${layerDirectory}/diff`, ...below] : below;
  const upper = readOnly ? undefined : { upperdir: `${layerDirectory}/diff`, workdir: `${layerDirectory}/work` };
  const parameters = rest.map(keyAndValue);
  if (label !== '') parameters.push(['context', label]);
  const plan = { target, flags, lowers, upper, parameters };
  return { ...plan, data: dataString(plan) };
}

/** A mount's own list replaces the default one, from which only `metacopy=on` is carried over; that only where it works [J34]. */
function effectiveOptions({ defaultOptions, options, metacopySupported }: MountInputs): string[] {
  const chosen = options.length === 0 ? [...defaultOptions] : [...options];
  if (options.length > 0 && defaultOptions.includes('metacopy=on') && !options.includes('metacopy=on')) chosen.push('metacopy=on');
  return chosen.filter((word) => word !== '' && (word !== 'metacopy=on' || metacopySupported));
}

function mountFlags(words: readonly string[]): number {
  let flags = 0;
  for (const word of words) {
    const { set = 0, clear = 0 } = FLAG_WORDS.get(word) ?? {};
    flags = (flags | set) & ~clear;
  }
  return flags;
}

function keyAndValue(word: string): readonly [string, string | undefined] {
  const equals = word.indexOf('=');
  return equals < 0 ? [word, undefined] : [word.slice(0, equals), word.slice(equals + 1)];
}

/** The data string of mount(2); undefined if it would be longer than a page, or a path has a separator in it. */
export function dataString(plan: Omit<MountPlan, 'data'>): string | undefined {
  const paths = [...plan.lowers, ...(plan.upper === undefined ? [] : [plan.upper.upperdir, plan.upper.workdir])];
  if (paths.some((path) => /[:,\\]/.test(path))) return undefined;
  const parts = [`lowerdir=${plan.lowers.join(':')}`];
  if (plan.upper !== undefined) parts.push(`upperdir=${plan.upper.upperdir}`, `workdir=${plan.upper.workdir}`);
  for (const [key, value] of plan.parameters) {
    // The label has commas in it.
    if (key === 'context') parts.push(`context="${value ?? ''}"`);
    else parts.push(value === undefined ? key : `${key}=${value}`);
  }
  const data = parts.join(',');
  return Buffer.byteLength(data) < PAGE ? data : undefined;
}

/** `l/AAA:l/BBB…` of a `lower` file as link names, topmost first; undefined if the text has another form. */
export function parseLower(text: string): string[] | undefined {
  const names: string[] = [];
  for (const part of text.split(':')) {
    const name = /^l\/([A-Z2-7]{26})$/.exec(part)?.[1];
    if (name === undefined) return undefined;
    names.push(name);
  }
  return names;
}

/** The `lower` file of a layer on top of the one with `link` and `lower` (absent in a base layer). */
export function lowerOf(parent: { readonly link: string; readonly lower: string | undefined }): string {
  return parent.lower === undefined ? `l/${parent.link}` : `l/${parent.link}:${parent.lower}`;
}

/** Layers below one another at most [J24]. */
export const MAX_DEPTH = 500;
