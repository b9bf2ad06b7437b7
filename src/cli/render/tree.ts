/** A node with its label and what hangs on it. */
export interface TreeNode {
  readonly label: string;
  readonly children: readonly TreeNode[];
}

/** A forest as lines: roots at the margin, what hangs on a node below it behind branches. */
export function treeLines(roots: readonly TreeNode[]): string[] {
  return roots.flatMap(({ label, children }) => [label, ...branches(children)]);
}

function branches(nodes: readonly TreeNode[]): string[] {
  return nodes.flatMap(({ label, children }, at) => {
    const isLast = at === nodes.length - 1;
    return [`${isLast ? '└─' : '├─'} ${label}`, ...branches(children).map((line) => `${isLast ? '  ' : '│ '} ${line}`)];
  });
}
