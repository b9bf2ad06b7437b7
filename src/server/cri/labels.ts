/** Every given key must match exactly; an empty value also matches an absent key [D117]. */
export function labelsMatch(labels: ReadonlyMap<string, string>, selector: ReadonlyMap<string, string>): boolean {
  for (const [key, value] of selector) if ((labels.get(key) ?? '') !== value) return false;
  return true;
}
