// What the page knows: a picture that follows a controller's stream.
import { followed, type Happening, patched, type Patch, type Picture } from './picture';

const SILENT_MS = 5000;
const AGAIN_MS = 1000;

export class Live {
  picture = $state.raw<Picture | null>(null);
  events = $state.raw<Happening[]>([]);
  /** Time now, of the controller's clock. */
  now = $state(Date.now());
  /** Why nothing new is shown; empty: all is of now. */
  trouble = $state('not connected yet');

  #source: EventSource | null = null;
  /** When something was heard last, from whomever: who connects in vain hears nothing. */
  #heard = performance.now();
  #connected = performance.now();
  #ahead = 0;

  start(): void {
    this.#connect();
    setInterval(() => this.#look(), 1000);
  }

  #connect(): void {
    this.#source?.close();
    const source = new EventSource('v1/stream');
    this.#source = source;
    this.#connected = performance.now();
    const on = (kind: string, take: (said: unknown) => void): void =>
      source.addEventListener(kind, (event) => {
        this.#heard = performance.now();
        this.trouble = '';
        take(JSON.parse((event as MessageEvent<string>).data));
      });
    on('view', (said) => (this.picture = said as Picture));
    on('patch', (said) => {
      if (this.picture) this.picture = patched(this.picture, said as Patch);
    });
    on('events', (said) => (this.events = followed(this.events, said as Happening[])));
    on('tick', (said) => {
      this.now = (said as { at_ms: number }).at_ms;
      this.#ahead = this.now - Date.now();
    });
    on('goodbye', () => this.#again());
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) this.#again();
    };
  }

  #again(): void {
    this.#source?.close();
    setTimeout(() => this.#connect(), AGAIN_MS * (0.5 + Math.random()));
  }

  #look(): void {
    this.now = Date.now() + this.#ahead;
    const silent = performance.now() - this.#heard;
    if (silent > SILENT_MS) {
      this.trouble = `no controller is heard for ${Math.round(silent / 1000)} s: this is what was known then`;
      const waited = performance.now() - this.#connected;
      if (waited > 3 * SILENT_MS && this.#source?.readyState === EventSource.OPEN) this.#again();
    }
  }
}
