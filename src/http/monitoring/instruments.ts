import { Counter, Gauge, Registry } from 'prom-client';

export interface Count {
  readonly labels: Readonly<Record<string, string>>;
  value: number;
}

/**
 * Counters and gauges that ask for their values when somebody asks for them. Counting is done in plain numbers: prom-client's
 * own counters look their labels up each time, which would cost every request ten times as much.
 */
export class Instruments {
  readonly registry = new Registry();

  counter(name: string, help: string, labelNames: string[], counts: () => Iterable<Count>): void {
    new Counter({
      name,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset();
        for (const { labels, value } of counts()) this.inc(labels, value);
      },
    });
  }

  /** A counter without labels. */
  total(name: string, help: string, value: () => number): void {
    this.counter(name, help, [], () => [{ labels: {}, value: value() }]);
  }

  gauge(name: string, help: string, value: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(value());
      },
    });
  }
}
