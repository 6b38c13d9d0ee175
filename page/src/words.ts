// Numbers and states as people read them.
import type { Client, Element, Job, JobRun, Link, Machine, NodeFigures, Role, Seen, Volume } from './picture';

export const STATE_WORDS: Record<Seen, string> = {
  good: 'good',
  bad: 'bad',
  unknown: 'not known',
  planned: 'drained',
};

/** Of clients from one place. */
export const SERVED_WORDS: Record<Seen, string> = { ...STATE_WORDS, good: 'served', bad: 'not served' };

export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/** A time as machines read it; empty if there is none such: a sender may say any number. */
export function moment(ms: number): string {
  const at = new Date(ms);
  return Number.isNaN(at.getTime()) ? '' : at.toISOString();
}

/** What the end of an address names. */
export function named(hash: string): string {
  try {
    return hash.startsWith('#/') ? decodeURIComponent(hash.slice(2)) : '';
  } catch {
    return '';
  }
}

/** A word as a shell takes it, whatever is in it. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

export function rate(bps: number | null): string {
  if (bps === null) return 'not known';
  const units = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'];
  let value = bps;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function rtt(us: number): string {
  return us ? `${(us / 1000).toFixed(us < 10_000 ? 1 : 0)} ms` : 'RTT not known';
}

/** How a link does: how long, how many, how much. */
export function line(link: Link): string {
  const loss = link.loss_percent ?? null;
  const lost = loss === null ? 'loss not known' : `${loss} % lost`;
  return `${rtt(link.rtt_us)}, ${lost}, in ${rate(link.received_bps)}, out ${rate(link.sent_bps)}`;
}

/** Who asks a service as clients do, and which datacenters answered; empty: nobody says. */
export function answers(client: Client): string {
  const by = Object.entries(client.answered_by).map(([from, sites]) => `${from} by ${sites.join(', ')}`);
  return [
    client.asked_from.length ? `asked from ${client.asked_from.join(', ')}` : '',
    by.length ? `answered: ${by.join('; ')}` : '',
  ].filter((each) => each).join('; ');
}

/** Who has a role. */
export function holder(role: Role): string {
  const names = Object.entries(role.holders).map(([name, node]) => `${name} on ${node}`);
  const epoch = role.epoch === null ? '' : `, epoch ${role.epoch}`;
  return names.length ? `${names.join(', ')}${epoch}` : role.unheard.length ? 'not known' : 'nobody';
}

/** So much, in units of which there are 1024 in the next. */
export function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** How full a volume is, and whether anything stops it from having more; empty: not known. */
export function fullness(volume: Volume): string {
  if (volume.bytes === null) return '';
  const most = volume.size_bytes ? ` of ${size(volume.size_bytes)}` : '';
  return size(volume.bytes) + most + (volume.limited ? '' : ', no quota');
}

/** Cores of thousandths of them. */
export function cores(milli: number): string {
  return String(Math.round(milli / 10) / 100);
}

/** What instances of a node use, as far as their agent has measured it. */
export function used(node: Machine, load: NodeFigures): string {
  if (!load.heard) return 'not known: it is not in contact';
  if (!node.instances) return 'nothing: no instance is on it';
  if (!load.measured) return 'not known: of no instance the cpu was measured yet, or others started them';
  const of = load.measured < node.instances ? ` by ${load.measured} of ${node.instances} instances, the others are not measured` : '';
  return `at most ${cores(load.used_milli)} cores${of}`;
}

/** When a job is due, by the clock of who looks. */
export function due(job: Job, now: number): string {
  if (!job.schedule) return 'when somebody says so';
  if (!job.next_ms) return 'not known';
  const left = job.next_ms - now;
  return left > 0 ? `in ${duration(left)} (${moment(job.next_ms).slice(0, 16).replace('T', ' ')} UTC)` : 'now';
}

/** When a run began, and for how long it went, or goes. */
export function times(run: JobRun, now: number): string {
  if (!run.began_ms) return 'has not begun';
  const lasted = duration((run.ended_ms || now) - run.began_ms);
  return run.ended_ms
    ? `ended ${duration(now - run.ended_ms)} ago, after ${lasted}`
    : `began ${lasted} ago`;
}

const WORST: Seen[] = ['bad', 'unknown', 'planned', 'good'];

/** As many as are shown: all in their order, or of too many the worst. */
export function shown<T extends Element>(elements: T[], most: number): T[] {
  if (elements.length <= most) return elements;
  return [...elements].sort((a, b) => WORST.indexOf(a.state) - WORST.indexOf(b.state)).slice(0, most);
}

export function stateWord(element: Element): string {
  const last = element.state === 'unknown' && element.last;
  return STATE_WORDS[element.state] + (last ? ` (last known: ${STATE_WORDS[last]})` : '');
}
