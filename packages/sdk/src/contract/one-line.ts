/** Whether a text is one line, without what could steer a terminal. */
export function isOneLine(text: string): boolean {
  return !/\p{Cc}/u.test(text);
}
