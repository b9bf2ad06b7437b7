/** A member of `imageSpec`, the OCI config in the `info` of a verbose ImageStatus, which other runtimes may fill otherwise: undefined then. */
export function imageSpecMember(info: ReadonlyMap<string, string>, ...path: readonly string[]): unknown {
  let value: unknown;
  try {
    value = JSON.parse(info.get('info') ?? '{}');
  } catch {
    return undefined;
  }
  for (const key of ['imageSpec', ...path]) value = ownMember(value, key);
  return value;
}

export function ownMember(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
}
