import { expect, test } from 'vitest';
import { FOLD_MACHINES, layout, VANTAGES } from './layout';
import { chart, coasts, type Topology } from './map';
import {
  type Element, followed, grouped, type Happening, type Job, type Machine, patched, type Picture, type Role, shownAs,
  sought, stories, vantages, type Volume,
} from './picture';
import { answers, due, duration, fullness, holder, moment, named, quoted, rate, rtt, shown, size, stateWord, times, used } from './words';

function element(id: string): Element {
  return { id, state: 'good', why: '', last: null, since_ms: 0 };
}

function picture(datacenters: number, nodes: number): Picture {
  const names = Array.from({ length: datacenters }, (_, index) => `d${index}`);
  const machine = (id: string, datacenter: string): Machine => ({
    ...element(id), datacenter, roles: ['node'], instances: 2, ready: 2, failing: 0,
  });
  return {
    platform: 'p', controller: 'c', revision: 1, stale_since_ms: 0,
    headline: { level: 'fine', sentence: '', redundancy: '' },
    datacenters: names.map((id) => ({
      ...element(id), city: '', lat: null, lon: null, machines: 3, present: 3, wanted: 2, ready: 2, unknown: 0, aggregates: [],
    })),
    edges: names.flatMap((dc) =>
      [1, 2].map((n) => ({ ...element(`${dc}-e${n}`), datacenter: dc, routing: '', aggregates: [] })),
    ),
    machines: names.flatMap((dc) =>
      Array.from({ length: nodes }, (_, index) => machine(`${dc}-n${index}`, dc)),
    ),
    peers: [...names].reverse().map((dc) => ({
      ...element(`t-${dc}`), kind: 'transit', asn: 1, up: 1, down: 0, unknown: 0,
    })),
    sessions: names.map((dc) => ({
      ...element(`t-${dc}@${dc}-e1/ipv4`), peer: `t-${dc}`, edge: `${dc}-e1`,
      imported: 0, exported: 0, filtered: 0, rejects: {},
    })),
    links: [], services: [], problems: [], hands: [], waits: [],
    fabrics: names.flatMap((dc) => ['a', 'b'].map((n) => ({ ...element(`${dc}/${n}`), datacenter: dc }))),
    clients: [
      { ...element('web'), served: 'partly', asked_from: [...names, 'berlin'], answered_by: { berlin: [names[0]!] }, missed_from: ['d0'] },
    ],
  };
}

test('a patch changes, adds, removes and orders', () => {
  const before = picture(1, 3);
  const worse = { ...before.machines[1]!, state: 'bad' as const };
  const fresh = { ...before.machines[0]!, id: 'new' };
  const after = patched(before, {
    head: { revision: 2 },
    changed: { machines: [worse, fresh] },
    order: { machines: ['new', 'd0-n1', 'd0-n0'] },
  });
  expect(after.revision).toBe(2);
  expect(after.machines.map((each) => [each.id, each.state])).toEqual([
    ['new', 'good'], ['d0-n1', 'bad'], ['d0-n0', 'good'],
  ]);
  expect(after.edges).toBe(before.edges);
});

test('nothing stands on anything else', () => {
  for (const [datacenters, nodes] of [[1, 1], [3, 5], [6, FOLD_MACHINES], [3, 40], [20, 50]] as const) {
    const drawn = layout(picture(datacenters, nodes));
    const columns = drawn.columns.flatMap((each) => [...each.edges, ...each.fabrics, ...each.machines]);
    const boxes = [...columns, ...drawn.peers, ...drawn.clients];
    expect(boxes.length).toBe(datacenters * (nodes + 4) + datacenters + Math.min(datacenters + 1, VANTAGES));
    for (const [index, one] of boxes.entries()) {
      expect(one.x + one.width).toBeLessThanOrEqual(drawn.width + 1);
      expect(one.y + one.height).toBeLessThanOrEqual(drawn.height);
      for (const other of boxes.slice(index + 1)) {
        const apart =
          one.x + one.width <= other.x || other.x + other.width <= one.x ||
          one.y + one.height <= other.y || other.y + other.height <= one.y;
        if (!apart) throw new Error(`${JSON.stringify(one)} ${JSON.stringify(other)}`);
      }
    }
  }
});

test('peers stand in the order of their edges, so that lines do not cross', () => {
  const drawn = layout(picture(4, 1));
  expect(drawn.peers.map((each) => each.element.id)).toEqual(['t-d0', 't-d1', 't-d2', 't-d3']);
});

test('clients stand by from where they ask, those that are not served first', () => {
  const web = { ...element('web'), served: 'partly', asked_from: ['ams', 'berlin'], answered_by: { berlin: ['fra'] }, missed_from: ['berlin'] };
  const api = { ...web, id: 'api', answered_by: { ams: ['fra'], berlin: ['ams', 'fra'] }, missed_from: [] };
  expect(vantages([web, api]).map((each) => [each.id, each.state, each.why, each.by])).toEqual([
    ['from/berlin', 'bad', 'web: no answer, or too few', ['ams', 'fra']],
    ['from/ams', 'good', '', ['fra']],
  ]);
  const drawn = layout({ ...picture(2, 1), clients: [{ ...api, answered_by: { berlin: ['d0', 'd1'], d0: ['d0'] } }] });
  expect(drawn.answers.map((each) => each.element.id)).toEqual(['from/berlin/d0', 'from/berlin/d1']);
  expect(layout({ ...picture(2, 1), clients: [] }).top).toBeLessThan(drawn.top);
});

test('where a controller of a release before does not say who is not served, that is not known', () => {
  const before = { ...element('web'), state: 'bad' as const, served: 'partly', asked_from: ['ams', 'fra'], answered_by: { fra: ['fra'] } };
  expect(vantages([before]).map((each) => [each.name, each.state, each.why])).toEqual([
    ['ams', 'unknown', 'web: not served everywhere, it is not said where'],
    ['fra', 'unknown', 'web: not served everywhere, it is not said where'],
  ]);
  const well = { ...before, state: 'good' as const, served: 'served' };
  expect(vantages([well]).map((each) => each.state)).toEqual(['good', 'good']);
  expect(vantages([well, { ...before, missed_from: ['ams'] }]).map((each) => each.state)).toEqual(['bad', 'good']);
});

test('events are found by words, kind and time', () => {
  const event = (sequence: number, what: string, detail = ''): Happening => ({
    sequence, at_ms: 1000 * sequence, source: 'fra-n1', about: 'web', what, reason: '', detail,
  });
  const events = [event(1, 'lost'), event(2, 'found', 'Disk'), event(3, 'lost')];
  const numbers = (found: Happening[]): number[] => found.map((each) => each.sequence);
  expect(numbers(sought(events, 'disk', '', 0))).toEqual([2]);
  expect(numbers(sought(events, 'FRA', 'lost', 0))).toEqual([1, 3]);
  expect(numbers(sought(events, '', '', 2000))).toEqual([2, 3]);
});

test('many machines are folded, few are not', () => {
  expect(layout(picture(3, FOLD_MACHINES)).columns[0]!.folded).toBe(false);
  expect(layout(picture(3, FOLD_MACHINES + 1)).columns[0]!.folded).toBe(true);
  expect(layout(picture(7, 1)).columns[0]!.folded).toBe(true);
});

test('repeated events are one with a count, the newest first', () => {
  const event = (sequence: number, about: string): Happening => ({
    sequence, at_ms: sequence, source: '', about, what: 'w', reason: '', detail: '',
  });
  const found = grouped([event(1, 'a'), event(2, 'b'), event(3, 'a')]);
  expect(found.map((each) => [each.event.sequence, each.times])).toEqual([[3, 2], [2, 1]]);
});

test('no two of them have one key, whatever they say', () => {
  const event = (about: string, what: string, reason: string): Happening => ({
    sequence: 1, at_ms: 1, source: '', about, what, reason, detail: '',
  });
  const found = grouped([event('a', 'b c', ''), event('a\nb', 'c', ''), event('a', 'b\nc', ''), event('a b', 'c', '')]);
  expect(new Set(found.map((each) => each.key)).size).toBe(4);
});

test('events that are said again are there once, and of a store that was set back only its own', () => {
  const event = (sequence: number, what = ''): Happening => ({
    sequence, at_ms: 1, source: '', about: '', what, reason: '', detail: '',
  });
  const numbers = (events: Happening[]): number[] => events.map((each) => each.sequence);
  expect(numbers(followed([event(7)], [event(7), event(7)]))).toEqual([7, 7]);
  expect(numbers(followed([event(5), event(6), event(7)], [event(6), event(7), event(8)]))).toEqual([5, 6, 7, 8]);
  expect(numbers(followed([event(5), event(9)], [event(6)]))).toEqual([5, 6]);
  expect(numbers(followed([event(5)], []))).toEqual([5]);
});

test('what is no time, and what is no name, has no word', () => {
  expect([moment(0), moment(1e18), moment(NaN)]).toEqual(['1970-01-01T00:00:00.000Z', '', '']);
  expect(['', '#/', '#/a%20b', '#/%', '#events'].map(named)).toEqual(['', '', 'a b', '', '']);
});

test('words for people', () => {
  expect([0, 59_400, 600_000, 7_200_000, 864_000_000].map(duration)).toEqual([
    '0 s', '59 s', '10 min', '2 h', '10 d',
  ]);
  expect([null, 0, 999, 1500, 2.5e10].map(rate)).toEqual([
    'not known', '0 bit/s', '999 bit/s', '1.5 kbit/s', '25 Gbit/s',
  ]);
  expect([rtt(0), rtt(900), rtt(12_000)]).toEqual(['RTT not known', '0.9 ms', '12 ms']);
  expect(stateWord({ ...element('x'), state: 'unknown', last: 'good' })).toBe(
    'not known (last known: good)',
  );
});

test('who asks as clients do, and who answers, is said where it is known', () => {
  const client = { ...element('web'), served: 'served', asked_from: [], answered_by: {} };
  expect(answers(client)).toBe('');
  expect(answers({ ...client, asked_from: ['ams', 'berlin'] })).toBe('asked from ams, berlin');
  expect(answers({ ...client, asked_from: ['berlin'], answered_by: { berlin: ['ams', 'fra'] } })).toBe(
    'asked from berlin; answered: berlin by ams, fra',
  );
});

test('what happened to a thing is one story, the newest first', () => {
  const event = (sequence: number, about: string, what: string): Happening => ({
    sequence, at_ms: sequence, source: '', about, what, reason: '', detail: '',
  });
  const found = stories([event(1, 'a', 'x'), event(2, 'b', 'x'), event(3, 'a', 'x'), event(4, 'a', 'y')]);
  expect(found.map((each) => [each.about, each.times])).toEqual([['a', 3], ['b', 1]]);
  expect(found[0]?.events.map((each) => [each.event.what, each.times])).toEqual([['y', 1], ['x', 2]]);
});

test('a map has north above, keeps words apart, and says who is nowhere', () => {
  const { datacenters, edges, links } = picture(4, 1);
  const at = [[50, 8], [52, 5], [50.1, 8.1], null];
  const placed = datacenters.map((each, index) => ({ ...each, lat: at[index]?.[0] ?? null, lon: at[index]?.[1] ?? null }));
  const drawn = chart(placed, edges, links);
  expect(drawn.nowhere.map((each) => each.id)).toEqual(['d3']);
  const [d0, d1, d2] = ['d0', 'd1', 'd2'].map((id) => drawn.sites.find((each) => each.datacenter.id === id));
  expect(d1 && d0 && d1.y < d0.y && d1.x < d0.x).toBe(true);
  expect(Math.abs((d0?.wordsY ?? 0) - (d2?.wordsY ?? 0))).toBeGreaterThanOrEqual(20);
  expect(drawn.ways.every((each) => each.links.length > 0)).toBe(true);
  expect(chart(datacenters, edges, links).sites).toEqual([]);
});

test('coasts are drawn from arcs that rings share, forwards and backwards', () => {
  const land: Topology = {
    transform: { scale: [1, 1], translate: [10, 0] },
    arcs: [[[0, 0], [1, 0]], [[0, 0], [0, 2]]],
    objects: { land: { geometries: [{ arcs: [[[0, ~1]]] }] } },
  };
  expect(coasts(land, ([x, y]) => [x, y])).toBe('M10 0L11 0L10 2L10 0Z');
});

test('what is copied into a shell is one word, whatever a name has in it', () => {
  expect(quoted('fra-e1')).toBe('fra-e1');
  expect(quoted("x; rm -r ~ '$(id)'")).toBe(`'x; rm -r ~ '"'"'$(id)'"'"''`);
  expect(quoted('')).toBe("''");
});

test('who has a role is one of three things', () => {
  const role: Role = { ...element('writer'), prefixes: [], holders: {}, epoch: null, unheard: [] };
  expect(holder(role)).toBe('nobody');
  expect(holder({ ...role, unheard: ['db.fra.1-1'] })).toBe('not known');
  expect(holder({ ...role, holders: { 'db.fra.1-1': 'fra-n1' }, epoch: 0 })).toBe('db.fra.1-1 on fra-n1, epoch 0');
});

test('how full a volume is, is said only where it is known', () => {
  const volume: Volume = { ...element('v'), node: 'n', bytes: null, size_bytes: 0, limited: false };
  expect(fullness(volume)).toBe('');
  expect(fullness({ ...volume, bytes: 0, limited: true })).toBe('0 B');
  expect(fullness({ ...volume, bytes: 2 ** 30, size_bytes: 10 * 2 ** 30 })).toBe('1.0 GiB of 10 GiB, no quota');
  expect([1023, 1024, 2 ** 50].map(size)).toEqual(['1023 B', '1.0 KiB', '1024 TiB']);
});

test('when a job runs next and ran last is told in time that passes', () => {
  const job: Job = { ...element('job/a'), version: 1, schedule: '', next_ms: 0, datacenters: [], runs: [] };
  expect(due(job, 0)).toBe('when somebody says so');
  expect(due({ ...job, schedule: '* * * * *' }, 0)).toBe('not known');
  expect(due({ ...job, schedule: '* * * * *', next_ms: 60_000 }, 30_000)).toBe('in 30 s (1970-01-01 00:01 UTC)');
  expect(due({ ...job, schedule: '* * * * *', next_ms: 60_000 }, 60_001)).toBe('now');
  const run = { ...element('a@1'), word: 'running', node: '', began_ms: 0, ended_ms: 0 };
  expect(times(run, 9000)).toBe('has not begun');
  expect(times({ ...run, began_ms: 1000 }, 9000)).toBe('began 8 s ago');
  expect(times({ ...run, began_ms: 1000, ended_ms: 3000 }, 9000)).toBe('ended 6 s ago, after 2 s');
});

test('what a word is about can be chosen if it is drawn', () => {
  const drawn = { ...picture(1, 1), jobs: [{ ...element('job/a'), version: 1, schedule: '', next_ms: 0, datacenters: [], runs: [] }] };
  expect(['d0-n0', 'node/d0-n0', 'datacenter/d0', 'job/a', 'store', ''].map((each) => shownAs(drawn, each))).toEqual([
    'd0-n0', 'd0-n0', 'd0', 'job/a', '', '',
  ]);
  expect(shownAs(picture(1, 1), 'job/a')).toBe('');
});

test('what a node uses is not known, or at most so much', () => {
  const node = picture(1, 1).machines[0]!;
  const load = {
    heard: true, cpu_milli: 4000, memory_bytes: 0, promised_milli: 0, promised_bytes: 0, measured: 2, used_milli: 425,
    busiest: '', volumes: [], volumes_more: 0,
  };
  expect(used(node, load)).toBe('at most 0.43 cores');
  expect(used(node, { ...load, measured: 1 })).toContain('by 1 of 2 instances');
  expect(used(node, { ...load, measured: 0 })).toContain('not known');
  expect(used(node, { ...load, heard: false })).toBe('not known: it is not in contact');
  expect(used({ ...node, instances: 0 }, { ...load, measured: 0 })).toContain('nothing');
});

test('of too many the worst are shown, and what fits stays where it is', () => {
  const states = ['good', 'planned', 'unknown', 'good', 'bad'] as const;
  const elements = states.map((state, index) => ({ ...element(`${index}`), state }));
  expect(shown(elements, 5)).toBe(elements);
  expect(shown(elements, 4).map((each) => each.id)).toEqual(['4', '2', '1', '0']);
  expect(elements.map((each) => each.id)).toEqual(['0', '1', '2', '3', '4']);
});
