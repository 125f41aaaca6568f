import { parser } from '@prometheus-io/lezer-promql';

/** A metric that a query reads, and what it says of the labels. */
export interface Selector {
  readonly metric: string;
  readonly matchers: readonly { readonly label: string; readonly operator: string; readonly value: string }[];
}

/** What a query reads, and the labels it groups by. */
export interface Query {
  readonly selectors: readonly Selector[];
  readonly grouping: readonly string[];
}

/**
 * Reads a query with the parser that Prometheus' own page has.
 *
 * @throws Error where it is not PromQL
 */
export function parseQuery(text: string): Query {
  const selectors: Selector[] = [];
  const grouping: string[] = [];
  parser.parse(text).iterate({
    enter({ type, from, to, node }) {
      if (type.isError) throw new Error(`not PromQL at ${from}: ${text}`);
      if (type.name === 'GroupingLabels') grouping.push(...node.getChildren('LabelName').map(textOf));
      if (type.name !== 'VectorSelector') return;
      const name = node.getChild('Identifier');
      if (!name) throw new Error(`a selector without a metric: ${text.slice(from, to)}`);
      const matchers = node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ?? [];
      selectors.push({
        metric: textOf(name),
        matchers: matchers.map((matcher) => {
          const part = (which: string) => textOf(matcher.getChild(which) ?? matcher);
          return { label: part('LabelName'), operator: part('MatchOp'), value: JSON.parse(part('StringLiteral')) };
        }),
      });
    },
  });
  return { selectors, grouping };

  function textOf({ from, to }: { from: number; to: number }): string {
    return text.slice(from, to);
  }
}
