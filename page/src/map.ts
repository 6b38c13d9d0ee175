// Datacenters on the Earth: where they stand, and the coasts around them. Pure.
import type { Datacenter, Edge, Link, Seen } from './picture';

type Point = readonly [number, number];

/** Coasts as the `world-atlas` package has them (TopoJSON, made from Natural Earth). */
export interface Topology {
  transform: { scale: [number, number]; translate: [number, number] };
  arcs: [number, number][][];
  objects: { land: { geometries: { arcs: number[][][] }[] } };
}

export interface Site {
  datacenter: Datacenter;
  x: number;
  y: number;
  /** Of its words, which never stand on others. */
  wordsY: number;
}

export interface Way {
  id: string;
  state: Seen;
  links: Link[];
  path: string;
}

export interface Chart {
  width: number;
  height: number;
  sites: Site[];
  ways: Way[];
  nowhere: Datacenter[];
  place: (at: Point) => Point;
}

const WIDTH = 1000;
const MARGIN_DEGREES = 6;
const WORDS = { width: 200, height: 20 };
const WORST: Seen[] = ['bad', 'unknown', 'planned', 'good'];

export function chart(datacenters: Datacenter[], edges: Edge[], links: Link[]): Chart {
  const known = datacenters.flatMap((each) =>
    each.lat === null || each.lon === null ? [] : [{ datacenter: each, at: [each.lon, each.lat] as const }],
  );
  const { place, height } = projection(known.map((each) => each.at));
  const sites = spread(
    known.map(({ datacenter, at }) => {
      const [x, y] = place(at);
      return { datacenter, x, y, wordsY: y + 5 };
    }),
  );
  const nowhere = datacenters.filter((each) => !known.some((one) => one.datacenter === each));
  return { width: WIDTH, height, sites, ways: ways(sites, edges, links), nowhere, place };
}

/** Plate carrée around the points, true to scale in its middle. */
function projection(points: readonly Point[]): { place: (at: Point) => Point; height: number } {
  const lons = points.map((each) => each[0]);
  const lats = points.map((each) => each[1]);
  const [west, east] = [Math.min(...lons, 180) - MARGIN_DEGREES, Math.max(...lons, -180) + MARGIN_DEGREES];
  const [south, north] = [Math.min(...lats, 90) - MARGIN_DEGREES, Math.max(...lats, -90) + MARGIN_DEGREES];
  const across = WIDTH / Math.max(east - west, 1);
  const up = across / Math.max(Math.cos((((south + north) / 2) * Math.PI) / 180), 0.2);
  return {
    place: ([lon, lat]) => [(lon - west) * across, (north - lat) * up],
    height: Math.max((north - south) * up, 60),
  };
}

function spread(sites: Site[]): Site[] {
  const placed: Site[] = [];
  for (const site of [...sites].sort((a, b) => a.y - b.y)) {
    let wordsY = site.wordsY;
    for (const other of placed) {
      const near = Math.abs(other.x - site.x) < WORDS.width;
      if (near && wordsY < other.wordsY + WORDS.height) wordsY = other.wordsY + WORDS.height;
    }
    placed.push({ ...site, wordsY });
  }
  return placed;
}

/** One line for all links between two datacenters, as its worst one is. */
function ways(sites: Site[], edges: Edge[], links: Link[]): Way[] {
  const home = new Map(edges.map((each) => [each.id, each.datacenter]));
  const found = new Map<string, Way>();
  for (const link of links) {
    const ends = [home.get(link.a), home.get(link.b)].sort();
    const [from, to] = ends.map((end) => sites.find((each) => each.datacenter.id === end));
    if (!from || !to || from === to) continue;
    const id = `${from.datacenter.id}--${to.datacenter.id}`;
    const way = found.get(id) ?? { id, state: 'good', links: [], path: `M${from.x} ${from.y} L${to.x} ${to.y}` };
    way.links.push(link);
    way.state = WORST.find((state) => way.links.some((each) => each.state === state)) ?? 'good';
    found.set(id, way);
  }
  return [...found.values()];
}

/** The coasts as one path. */
export function coasts(land: Topology, place: (at: Point) => Point): string {
  const { scale, translate } = land.transform;
  const arcs = land.arcs.map((arc) => {
    let [x, y] = [0, 0];
    return arc.map(([dx, dy]): Point => {
      [x, y] = [x + dx, y + dy];
      return [x * scale[0] + translate[0], y * scale[1] + translate[1]];
    });
  });
  const lines = (ring: number[]): Point[] =>
    ring.flatMap((at) => (at < 0 ? [...(arcs[~at] ?? [])].reverse() : (arcs[at] ?? [])));
  const rings = land.objects.land.geometries.flatMap((each) => each.arcs.flat());
  return rings
    .map((ring) => `M${lines(ring).map((at) => place(at).map(Math.round).join(' ')).join('L')}Z`)
    .join('');
}
