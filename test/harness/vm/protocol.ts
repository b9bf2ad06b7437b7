/** What a test asks of a virtual machine. */
export type Order = { readonly id: number } & OrderOf;

export type OrderOf =
  | { readonly kind: 'exec'; readonly argv: readonly string[]; readonly stdin: string }
  /** Starts a daemon and waits until it accepts connections on its socket. */
  | { readonly kind: 'start'; readonly argv: readonly string[]; readonly socket: string }
  /** Opens a connection to a socket inside; it comes to the test beside the control connection and begins with the order's id. */
  | { readonly kind: 'connect'; readonly socket: string }
  | { readonly kind: 'write'; readonly path: string; readonly text: string };

/** What it answers, by the order's id; `stdout` and `stderr` in base64. */
export interface Answer {
  readonly id: number;
  readonly error?: string;
  readonly code?: number | null;
  readonly signal?: NodeJS.Signals | null;
  readonly stdout?: string;
  readonly stderr?: string;
}
