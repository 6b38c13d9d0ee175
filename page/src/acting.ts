// What is done from the page: looked at first, then done with a reason, by who runs `pltfrms ui`.

/** Who acts here, and how the page shows that it is this page; no token: it only looks. */
export interface Me {
  by: string;
  token: string;
}

export interface Action {
  verb: string;
  kind: string;
  name: string;
}

/** What an action would do; without a ticket it cannot be done from here. */
export interface Look {
  ticket: string;
  lines: string[];
  refused: string;
  command: string;
}

export interface Done {
  sentence: string;
}

async function answered<T>(answer: Response): Promise<T> {
  if (!answer.ok) throw new Error((await answer.text()).trim() || `it answers ${answer.status}`);
  return (await answer.json()) as T;
}

export async function asked<T>(path: string): Promise<T> {
  return answered(await fetch(path));
}

export async function acted<T>(me: Me, path: string, word: unknown): Promise<T> {
  const headers = { 'content-type': 'application/json', 'x-pltfrms-token': me.token };
  return answered(await fetch(path, { method: 'POST', headers, body: JSON.stringify(word) }));
}

export function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
