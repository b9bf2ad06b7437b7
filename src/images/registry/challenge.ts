/** One `WWW-Authenticate` challenge; scheme and parameter names in lower case. */
export interface Challenge {
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Reads the header's challenges in linear time; what it cannot read ends the list. Several headers come joined by `, `. */
export function parseChallenges(header: string | undefined): readonly Challenge[] {
  const found: { scheme: string; parameters: Map<string, string> }[] = [];
  const reader = new Reader(header ?? '');
  for (;;) {
    reader.skip(' \t,');
    const word = reader.token();
    if (word === '') return found;
    reader.skip(' \t');
    const current = found.at(-1);
    if (!reader.take('=')) {
      found.push({ scheme: word.toLowerCase(), parameters: new Map() });
      continue;
    }
    reader.skip(' \t');
    const value = reader.take('"') ? reader.quoted() : reader.token();
    if (value === undefined || current === undefined) return found;
    current.parameters.set(word.toLowerCase(), value);
  }
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  skip(chars: string): void {
    while (this.#at < this.#text.length && chars.includes(this.#text[this.#at] ?? '')) this.#at++;
  }

  take(char: string): boolean {
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  /** RFC 9110's token; a bare `=`-less value such as a token68 ends at its padding. */
  token(): string {
    const start = this.#at;
    while (this.#at < this.#text.length && /[A-Za-z0-9!#$%&'*+.^_`|~:/-]/.test(this.#text[this.#at] ?? '')) this.#at++;
    return this.#text.slice(start, this.#at);
  }

  /** After the opening quote; undefined where it never closes. */
  quoted(): string | undefined {
    let value = '';
    for (; this.#at < this.#text.length; this.#at++) {
      const char = this.#text[this.#at] ?? '';
      if (char === '"') {
        this.#at++;
        return value;
      }
      if (char === '\\') this.#at++;
      value += this.#text[this.#at] ?? '';
    }
    return undefined;
  }
}
