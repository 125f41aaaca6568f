type Cell = string | number;

/** What a table shows: under each title, what it takes from a row. */
export type Columns<Row> = Readonly<Record<string, (row: Row) => Cell>>;

/** A table for people: columns as wide as they must be, numbers to the right, everything else to the left. */
export function alignedTable<Row>(rows: readonly Row[], columns: Columns<Row>): string {
  const aligned = Object.entries(columns).map(([title, cellOf]) => column(title, rows.map(cellOf).map(String)));
  return aligned[0]
    .map((_, line) =>
      aligned
        .map((cells) => cells[line])
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Title, rule and cells, all of one width. */
function column(title: string, cells: readonly string[]): string[] {
  const width = Math.max(...[title, ...cells].map(letters));
  const isNumeric = cells.every((cell) => Number.isFinite(Number(cell)));
  const pad = (cell: string) => {
    const space = ' '.repeat(width - letters(cell));
    return isNumeric ? space + cell : cell + space;
  };
  return [pad(title), '─'.repeat(width), ...cells.map(pad)];
}

/** Letters, not code units. */
function letters(cell: string): number {
  return [...cell].length;
}
