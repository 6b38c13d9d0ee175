// Where everything stands in the picture of layers. Pure.
import type { Datacenter, Edge, Link, Machine, Peer, Picture, Session } from './picture';

export const FOLD_DATACENTERS = 6;
export const FOLD_MACHINES = 12;
const GAP = 24;
const PAD = 14;
const BOX = { width: 132, height: 40 };
const CELL = 14;
const PER_ROW = 3;
const PEERS_Y = 12;
const EDGES_Y = 128;
const BACKBONE = 66;

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
  peers: Box<Peer>[];
  sessions: Line<{ id: string; members: Session[] }>[];
  links: Line<Link>[];
}

export function layout(picture: Picture): Layout {
  const few = picture.datacenters.length <= FOLD_DATACENTERS;
  const perRow = few ? PER_ROW : 2;
  const width = perRow * (BOX.width + 10) - 10 + 2 * PAD;
  const top = EDGES_Y - PAD;
  let height = 0;
  const columns = picture.datacenters.map((datacenter, index): Column => {
    const x = index * (width + GAP);
    const edges = picture.edges.filter((each) => each.datacenter === datacenter.id);
    const machines = picture.machines.filter((each) => each.datacenter === datacenter.id);
    const folded = !few || machines.length > FOLD_MACHINES;
    const placedEdges = grid(edges, x + PAD, EDGES_Y, perRow, BOX.width, BOX.height, 10);
    const below = bottom(placedEdges, EDGES_Y) + BACKBONE;
    const cells = Math.floor((width - 2 * PAD) / CELL);
    const placed = folded
      ? grid(machines, x + PAD, below, cells, CELL - 3, CELL - 3, 3)
      : grid(machines, x + PAD, below, perRow, BOX.width, BOX.height, 10);
    height = Math.max(height, bottom(placed, below) + 34);
    return { datacenter, x, width, edges: placedEdges, machines: placed, folded };
  });
  const total = Math.max(columns.length * (width + GAP) - GAP, 480);
  const edges = new Map(columns.flatMap((c) => c.edges.map((e) => [e.element.id, e] as const)));
  const peers = placedPeers(picture, edges, total);
  return {
    width: total,
    height,
    top,
    columns,
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
  total: number,
): Box<Peer>[] {
  const middles = new Map(
    picture.peers.map((peer) => {
      const at = picture.sessions
        .filter((each) => each.peer === peer.id)
        .map((each) => edges.get(each.edge))
        .filter((each) => each !== undefined)
        .map(middle);
      return [peer.id, at.length ? at.reduce((a, b) => a + b) / at.length : total / 2];
    }),
  );
  const ordered = [...picture.peers].sort(
    (a, b) => (middles.get(a.id) ?? 0) - (middles.get(b.id) ?? 0),
  );
  const step = total / Math.max(ordered.length, 1);
  const width = Math.min(BOX.width + 30, Math.max(step - 8, 30));
  return ordered.map((element, index) => ({
    element,
    x: step * (index + 0.5) - width / 2,
    y: PEERS_Y,
    width,
    height: BOX.height,
  }));
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
