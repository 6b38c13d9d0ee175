// Where everything stands in the picture of layers. Pure.
import {
  type Datacenter, type Edge, type Fabric, type Link, type Machine, type Peer, type Picture, type Session, type Vantage, vantages,
} from './picture';

export const FOLD_DATACENTERS = 6;
export const FOLD_MACHINES = 12;
const GAP = 24;
const PAD = 14;
const BOX = { width: 132, height: 40 };
const CELL = 14;
const PER_ROW = 3;
const TOP = 12;
const ROW = 76;
const BACKBONE = 66;
const FABRIC = { height: 18, gap: 4 };
export const VANTAGES = 12;

export interface Box<T> {
  element: T;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Column {
  datacenter: Datacenter;
  x: number;
  width: number;
  edges: Box<Edge>[];
  fabrics: Box<Fabric>[];
  machines: Box<Machine>[];
  folded: boolean;
}

export interface Line<T> {
  element: T;
  path: string;
}

export interface Layout {
  width: number;
  height: number;
  top: number;
  columns: Column[];
  clients: Box<Vantage>[];
  /** Who answers clients of another place than its own. */
  answers: Line<Vantage>[];
  peers: Box<Peer>[];
  sessions: Line<{ id: string; members: Session[] }>[];
  links: Line<Link>[];
}

export function layout(picture: Picture): Layout {
  const few = picture.datacenters.length <= FOLD_DATACENTERS;
  const perRow = few ? PER_ROW : 2;
  const width = perRow * (BOX.width + 10) - 10 + 2 * PAD;
  const asked = vantages(picture.clients ?? []).slice(0, VANTAGES);
  const peersY = TOP + (asked.length ? ROW : 0);
  const edgesY = peersY + ROW + BOX.height;
  const top = edgesY - PAD;
  let height = 0;
  const columns = picture.datacenters.map((datacenter, index): Column => {
    const x = index * (width + GAP);
    const edges = picture.edges.filter((each) => each.datacenter === datacenter.id);
    const machines = picture.machines.filter((each) => each.datacenter === datacenter.id);
    const folded = !few || machines.length > FOLD_MACHINES;
    const placedEdges = grid(edges, x + PAD, edgesY, perRow, BOX.width, BOX.height, 10);
    const wires = bottom(placedEdges, edgesY) + BACKBONE;
    const here = (picture.fabrics ?? []).filter((each) => each.datacenter === datacenter.id);
    const fabrics = grid(here, x + PAD, wires, 1, width - 2 * PAD, FABRIC.height, FABRIC.gap);
    const below = here.length ? bottom(fabrics, wires) + PAD : wires;
    const cells = Math.floor((width - 2 * PAD) / CELL);
    const placed = folded
      ? grid(machines, x + PAD, below, cells, CELL - 3, CELL - 3, 3)
      : grid(machines, x + PAD, below, perRow, BOX.width, BOX.height, 10);
    height = Math.max(height, bottom(placed, below) + 34);
    return { datacenter, x, width, edges: placedEdges, fabrics, machines: placed, folded };
  });
  const total = Math.max(columns.length * (width + GAP) - GAP, 480);
  const edges = new Map(columns.flatMap((c) => c.edges.map((e) => [e.element.id, e] as const)));
  const peers = placedPeers(picture, edges, peersY, total);
  const sites = new Map(columns.map((each) => [each.datacenter.id, each.x + each.width / 2]));
  const clients = spread(asked, (each) => mean(each.by.map((site) => sites.get(site))), TOP, total);
  return {
    width: total,
    height,
    top,
    columns,
    clients,
    answers: answerLines(clients, sites, top),
    peers,
    sessions: sessionLines(picture, peers, edges),
    links: linkLines(picture.links, edges),
  };
}

function grid<T>(
  elements: T[],
  x: number,
  y: number,
  perRow: number,
  width: number,
  height: number,
  gap: number,
): Box<T>[] {
  return elements.map((element, index) => ({
    element,
    x: x + (index % perRow) * (width + gap),
    y: y + Math.floor(index / perRow) * (height + gap),
    width,
    height,
  }));
}

function bottom<T>(boxes: Box<T>[], least: number): number {
  return boxes.reduce((most, each) => Math.max(most, each.y + each.height), least);
}

function middle<T>(box: Box<T>): number {
  return box.x + box.width / 2;
}

/** Peers stand above the middle of their edges, in that order: so lines cross least. */
function placedPeers(
  picture: Picture,
  edges: Map<string, Box<Edge>>,
  y: number,
  total: number,
): Box<Peer>[] {
  const at = new Map<string, number[]>();
  for (const each of picture.sessions) {
    const edge = edges.get(each.edge);
    const known = at.get(each.peer) ?? [];
    at.set(each.peer, known);
    if (edge) known.push(middle(edge));
  }
  return spread(picture.peers, (peer) => mean(at.get(peer.id) ?? []), y, total);
}

function mean(places: (number | undefined)[]): number | undefined {
  const known = places.filter((each) => each !== undefined);
  return known.length ? known.reduce((a, b) => a + b) / known.length : undefined;
}

/** A row over the whole width, each as near as may be to where it belongs. */
function spread<T>(elements: T[], place: (element: T) => number | undefined, y: number, total: number): Box<T>[] {
  const middles = new Map(elements.map((each) => [each, place(each) ?? total / 2]));
  const ordered = [...elements].sort((a, b) => (middles.get(a) ?? 0) - (middles.get(b) ?? 0));
  const step = total / Math.max(ordered.length, 1);
  const width = Math.min(BOX.width + 30, Math.max(step - 8, 30));
  return ordered.map((element, index) => ({
    element,
    x: step * (index + 0.5) - width / 2,
    y,
    width,
    height: BOX.height,
  }));
}

function answerLines(clients: Box<Vantage>[], sites: Map<string, number>, top: number): Line<Vantage>[] {
  return clients.flatMap((box) =>
    box.element.by.flatMap((site) => {
      const to = sites.get(site);
      if (to === undefined || site === box.element.name) return [];
      const [from, y] = [middle(box), box.y + box.height];
      const element = { ...box.element, id: `${box.element.id}/${site}` };
      return [{ element, path: `M${from} ${y} C${from} ${y + ROW} ${to} ${top - ROW} ${to} ${top}` }];
    }),
  );
}

/** One line for all sessions between a peer and an edge. */
function sessionLines(
  picture: Picture,
  peers: Box<Peer>[],
  edges: Map<string, Box<Edge>>,
): Line<{ id: string; members: Session[] }>[] {
  const from = new Map(peers.map((each) => [each.element.id, each]));
  const pairs = new Map<string, Session[]>();
  for (const each of picture.sessions) {
    const id = `${each.peer}@${each.edge}`;
    pairs.set(id, [...(pairs.get(id) ?? []), each]);
  }
  return [...pairs].flatMap(([id, members]) => {
    const first = members[0];
    const peer = first && from.get(first.peer);
    const edge = first && edges.get(first.edge);
    if (!peer || !edge) return [];
    const y1 = peer.y + peer.height;
    const half = (y1 + edge.y) / 2;
    const path = `M${middle(peer)} ${y1} C${middle(peer)} ${half} ${middle(edge)} ${half} ${middle(edge)} ${edge.y}`;
    return [{ element: { id, members }, path }];
  });
}

function linkLines(links: Link[], edges: Map<string, Box<Edge>>): Line<Link>[] {
  return links.flatMap((element) => {
    const a = edges.get(element.a);
    const b = edges.get(element.b);
    if (!a || !b) return [];
    const y1 = a.y + a.height;
    const y2 = b.y + b.height;
    const sag = Math.max(y1, y2) + 18 + Math.min(36, Math.abs(middle(a) - middle(b)) / 24);
    return [
      { element, path: `M${middle(a)} ${y1} C${middle(a)} ${sag} ${middle(b)} ${sag} ${middle(b)} ${y2}` },
    ];
  });
}
