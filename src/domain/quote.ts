const MAX_LENGTH = 60;

/** What a user wrote, as it may stand in a warning: on one line, and no more of it than tells what is meant. */
export function quote(text: string): string {
  return JSON.stringify(text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text);
}
