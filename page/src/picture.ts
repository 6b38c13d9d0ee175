// What controllers send (`pltfrms.model.messages.picture`), and how a patch changes it.

export type Seen = 'good' | 'bad' | 'unknown' | 'planned';

export interface Element {
  id: string;
  state: Seen;
  why: string;
  last: Seen | null;
  since_ms: number;
}

export interface Datacenter extends Element {
  city: string;
  lat: number | null;
  lon: number | null;
  machines: number;
  present: number;
  wanted: number;
  ready: number;
  unknown: number;
  aggregates: Element[];
}

export interface Edge extends Element {
  datacenter: string;
  routing: string;
  aggregates: Element[];
}

/** How much is asked of a node; cores in thousandths. */
export interface NodeFigures {
  heard: boolean;
  cpu_milli: number;
  memory_bytes: number;
  promised_milli: number;
  promised_bytes: number;
  measured: number;
  used_milli: number;
  busiest: string;
  volumes: Volume[];
  volumes_more: number;
}

export interface Machine extends Element {
  datacenter: string;
  roles: string[];
  instances: number;
  ready: number;
  failing: number;
  load?: NodeFigures | null;
}

export interface Session extends Element {
  peer: string;
  edge: string;
  imported: number;
  exported: number;
  filtered: number;
  rejects: Record<string, number>;
}

export interface Peer extends Element {
  kind: string;
  asn: number;
  up: number;
  down: number;
  unknown: number;
}

export interface Link extends Element {
  a: string;
  b: string;
  kind: string;
  rtt_us: number;
  loss_percent?: number | null;
  received_bps: number | null;
  sent_bps: number | null;
  capacity_bps: number;
}

export interface Fabric extends Element {
  datacenter: string;
}

export interface Counts {
  wanted: number;
  ready: number;
  unknown: number;
}

export interface Role extends Element {
  prefixes: string[];
  /** By allocation that has it: its node. */
  holders: Record<string, string>;
  epoch: number | null;
  unheard: string[];
}

export interface Volume extends Element {
  node: string;
  bytes: number | null;
  size_bytes: number;
  limited: boolean;
}

/** Controllers of a release before say nothing of what is not sure to be there. */
export interface Service extends Element, Counts {
  version: number;
  prefixes: string[];
  ports: string[];
  places: Record<string, Counts>;
  rollout: string;
  load?: string;
  busiest?: string;
  promised?: string;
  roles?: Role[];
  volumes?: Volume[];
  volumes_more?: number;
}

export interface JobRun extends Element {
  word: string;
  node: string;
  began_ms: number;
  ended_ms: number;
}

export interface Job extends Element {
  version: number;
  schedule: string;
  next_ms: number;
  datacenters: string[];
  runs: JobRun[];
}

/** A service as vantage points see it, who ask as clients do. */
export interface Client extends Element {
  served: string;
  asked_from: string[];
  answered_by: Record<string, string[]>;
  missed_from?: string[];
}

/** Whether clients from there are served; a controller of a release before does not say where they are not. */
export function servedFrom(client: Client, from: string): Seen {
  if (!client.missed_from && client.state !== 'good') return 'unknown';
  return client.missed_from?.includes(from) ? 'bad' : 'good';
}

/** From where questions are asked as clients ask them, and what came of them. */
export interface Vantage extends Element {
  name: string;
  /** Datacenters that answered. */
  by: string[];
}

export interface Concern {
  id: string;
  about: string;
  sentence: string;
  since_ms: number;
  until_ms: number;
  command: string;
}

export interface Picture {
  platform: string;
  controller: string;
  revision: number;
  stale_since_ms: number;
  headline: { level: string; sentence: string; redundancy: string; clients?: string };
  datacenters: Datacenter[];
  edges: Edge[];
  machines: Machine[];
  peers: Peer[];
  sessions: Session[];
  links: Link[];
  services: Service[];
  /** Of controllers of a release before there are none. */
  fabrics?: Fabric[];
  clients?: Client[];
  jobs?: Job[];
  problems: Concern[];
  hands: Concern[];
  waits: Concern[];
}

/** What of the picture something is about, as an address names it; empty: nothing of it. */
export function shownAs(picture: Picture, about: string): string {
  const name = about.replace(/^(node|datacenter)\//, '');
  const lists = [
    picture.edges, picture.machines, picture.peers, picture.services, picture.datacenters, picture.jobs ?? [],
    picture.fabrics ?? [],
  ];
  return lists.some((list: Element[]) => list.some((each) => each.id === name)) ? name : '';
}

export interface Patch {
  head: Partial<Picture>;
  changed: Record<string, { id: string }[]>;
  order: Record<string, string[]>;
}

export interface Happening {
  sequence: number;
  at_ms: number;
  source: string;
  about: string;
  what: string;
  reason: string;
  detail: string;
}

export function patched(before: Picture, patch: Patch): Picture {
  const after: Record<string, unknown> = { ...before, ...patch.head };
  for (const [name, elements] of Object.entries(patch.changed)) {
    const known = new Map(
      (before[name as keyof Picture] as unknown as { id: string }[]).map((each) => [each.id, each]),
    );
    for (const each of elements) known.set(each.id, each);
    const order = patch.order[name] ?? [...known.keys()];
    after[name] = order.map((id) => known.get(id)).filter((each) => each !== undefined);
  }
  return after as unknown as Picture;
}

/** Whether clients are served, by from where they ask: what is not served first, then by name. */
export function vantages(clients: Client[]): Vantage[] {
  const said = new Map<string, { missed: string[]; doubted: string[]; by: Set<string> }>();
  for (const client of clients) {
    for (const from of client.asked_from) {
      const known = said.get(from) ?? { missed: [], doubted: [], by: new Set<string>() };
      const state = servedFrom(client, from);
      if (state !== 'good') known[state === 'bad' ? 'missed' : 'doubted'].push(client.id);
      for (const site of client.answered_by[from] ?? []) known.by.add(site);
      said.set(from, known);
    }
  }
  const found = [...said].map(([name, { missed, doubted, by }]): Vantage => ({
    id: `from/${name}`,
    name,
    state: missed.length ? 'bad' : doubted.length ? 'unknown' : 'good',
    why: missed.length
      ? `${missed.join(', ')}: no answer, or too few`
      : doubted.length ? `${doubted.join(', ')}: not served everywhere, it is not said where` : '',
    last: null,
    since_ms: 0,
    by: [...by].sort(),
  }));
  return found.sort((a, b) => Number(a.state === 'good') - Number(b.state === 'good') || a.name.localeCompare(b.name));
}

const EVENTS_KEPT = 500;

/** The events that are known after some more, of which a controller may say some again. */
export function followed(known: Happening[], more: Happening[]): Happening[] {
  // A store that was set back counts from an earlier number: what was read is another past.
  const first = more[0]?.sequence ?? Infinity;
  return [...known.filter((each) => each.sequence < first), ...more].slice(-EVENTS_KEPT);
}

/** Events with these words in them, of a kind (empty: any), not older than `since_ms`. */
export function sought(events: Happening[], words: string, what: string, since_ms: number): Happening[] {
  return events.filter(
    (each) =>
      each.at_ms >= since_ms &&
      (!what || each.what === what) &&
      `${each.about} ${each.what} ${each.reason} ${each.detail} ${each.source}`.toLowerCase().includes(words.toLowerCase()),
  );
}

export interface Repeated {
  /** Unique: a list in which a key is there twice ends the page. */
  key: string;
  event: Happening;
  times: number;
}

/** Events about the same thing that say the same, newest first, with how often. */
export function grouped(events: Happening[]): Repeated[] {
  const found = new Map<string, Repeated>();
  for (const event of events) {
    const key = JSON.stringify([event.about, event.what, event.reason]);
    found.set(key, { key, event, times: (found.get(key)?.times ?? 0) + 1 });
  }
  return [...found.values()].sort((a, b) => b.event.sequence - a.event.sequence);
}

export interface Story {
  about: string;
  /** Newest first. */
  events: Repeated[];
  times: number;
}

/** What happened to each thing, the one with the newest event first. */
export function stories(events: Happening[]): Story[] {
  const found = new Map<string, Story>();
  for (const each of grouped(events)) {
    const about = each.event.about;
    const story = found.get(about) ?? { about, events: [], times: 0 };
    story.events.push(each);
    story.times += each.times;
    found.set(about, story);
  }
  return [...found.values()];
}
