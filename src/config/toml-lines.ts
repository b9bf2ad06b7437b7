/**
 * On which line each key and table of a TOML document stands. smol-toml checks the document and gives the values
 * but no places; this scanner only walks over the same text, so it may assume that the text is valid, and what it
 * does not understand costs a line number, nothing else.
 */
import { parse } from 'smol-toml';

/** Looks a path up, its parts as in the parsed document; falls back to the nearest table above it. */
export type LineOf = (path: readonly string[]) => number;

const BLANK = /[ \t\r\n]*(?:#[^\n]*[ \t\r\n]*)*/y;
const KEY_PART = /[ \t]*(?:([A-Za-z0-9_-]+)|("(?:\\.|[^"\\\n])*"|'[^'\n]*'))[ \t]*(\.?)/y;
const STRING = /"""(?:\\[^]|(?!""")[^])*""""{0,2}|'''(?:(?!''')[^])*''''{0,2}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'/y;
const BARE = /[^,\]}#\n]+/y;
const EQUALS = /[ \t]*=[ \t]*/y;

export function keyLines(toml: string): LineOf {
  const lines = new Map<string, number>();
  new Scanner(toml, lines).document();
  return (path) => {
    for (let length = path.length; length > 0; length--) {
      const line = lines.get(JSON.stringify(path.slice(0, length)));
      if (line !== undefined) return line;
    }
    return 1;
  };
}

class Scanner {
  private at = 0;
  private line = 1;
  private counted = 0;
  private readonly toml: string;
  private readonly lines: Map<string, number>;

  constructor(toml: string, lines: Map<string, number>) {
    this.toml = toml;
    this.lines = lines;
  }

  document(): void {
    let table: readonly string[] = [];
    for (;;) {
      this.take(BLANK);
      if (this.at >= this.toml.length) return;
      if (this.toml[this.at] === '[') {
        this.at += this.toml[this.at + 1] === '[' ? 2 : 1;
        table = this.key([]);
        while (this.toml[this.at] === ']') this.at++;
      } else if (!this.pair(table)) return;
    }
  }

  /** `key = value`; false where neither is there, so that the walk ends. */
  private pair(table: readonly string[]): boolean {
    const start = this.at;
    const path = this.key(table);
    if (this.take(EQUALS) === undefined) return false;
    this.value(path);
    return this.at > start;
  }

  private key(table: readonly string[]): readonly string[] {
    const line = this.lineHere();
    const path = [...table];
    for (;;) {
      const match = this.take(KEY_PART);
      if (match === undefined) break;
      const [, bare, quoted, dot] = match;
      path.push(bare ?? unquoted(quoted ?? ''));
      const name = JSON.stringify(path);
      if (!this.lines.has(name) || dot !== '.') this.lines.set(name, line);
      if (dot !== '.') break;
    }
    return path;
  }

  private value(path: readonly string[]): void {
    if (this.take(STRING) !== undefined) return;
    const open = this.toml[this.at];
    if (open !== '[' && open !== '{') {
      this.take(BARE);
      return;
    }
    this.at++;
    for (;;) {
      const before = this.at;
      this.take(BLANK);
      if (this.toml[this.at] === ']' || this.toml[this.at] === '}') {
        this.at++;
        return;
      }
      if (open === '[') this.value(path);
      else this.pair(path);
      this.take(BLANK);
      if (this.toml[this.at] === ',') this.at++;
      if (this.at === before) return;
    }
  }

  private take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.toml);
    if (match === null) return undefined;
    this.at += match[0].length;
    return match;
  }

  private lineHere(): number {
    for (; this.counted < this.at; this.counted++) if (this.toml[this.counted] === '\n') this.line++;
    return this.line;
  }
}

/** A quoted key as the parser reads it; the raw text where it cannot. */
function unquoted(key: string): string {
  try {
    return Object.keys(parse(`${key} = 0`))[0] ?? key;
  } catch {
    return key;
  }
}
