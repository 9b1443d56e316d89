import type { Exchange, ExchangeBody, ExchangeDetail } from "@runyard/sdk/contract";
import { bytes, count, duration, oneLine, type Paint, printable } from "./output.ts";
import { displayWidth, wrapBehind } from "./text.ts";

/** Model calls, one a line, with what went wrong below it. */
export function renderExchanges(exchanges: readonly Exchange[], paint: Paint, width: number): string[] {
  const rows = exchanges.map((exchange) => ({ exchange, cells: cellsOf(exchange, paint) }));
  const widths = (rows[0]?.cells ?? []).map((_, column) => Math.max(...rows.map(({ cells }) => displayWidth(cells[column] ?? ""))));
  const pad = (cell: string, column: number): string => {
    const blank = " ".repeat((widths[column] ?? 0) - displayWidth(cell));
    return RIGHT.has(column) ? blank + cell : cell + blank;
  };
  return rows.flatMap(({ exchange, cells }) => [
    cells.map(pad).join("  ").trimEnd(),
    ...(exchange.error === null ? [] : [wrapBehind(`${" ".repeat(widths[0] ?? 0)}  `, paint("dim", oneLine(exchange.error, 400)), width)]),
  ]);
}

/** Columns of figures: number, status, tokens, time. */
const RIGHT: ReadonlySet<number> = new Set([0, 2, 5, 6]);

function cellsOf(exchange: Exchange, paint: Paint): string[] {
  const { number, id, model, provider, path, durationMs } = exchange;
  const name = printable(provider === null ? model : `${provider}/${model}`);
  const time = durationMs === null ? "" : duration(durationMs);
  return [String(number), paint("dim", id), statusOf(exchange, paint), name, path, tokensOf(exchange), time];
}

function statusOf({ status, ok, complete }: Exchange, paint: Paint): string {
  if (ok === null) return paint("cyan", "no end");
  const words = status === null ? "no answer" : complete === false && status < 300 ? `${status} cut` : String(status);
  return paint(ok ? "green" : "red", words);
}

function tokensOf({ inputTokens, outputTokens }: Exchange): string {
  return inputTokens === null && outputTokens === null ? "" : `${count(inputTokens)} in, ${count(outputTokens)} out`;
}

/** One model call with what was asked and answered. */
export function renderExchange(exchange: ExchangeDetail, paint: Paint, width: number): string[] {
  const { at, turn, attempt, replays, costUsd, request, response } = exchange;
  const place = [turn === null ? "" : `turn ${turn}`, attempt === null ? "" : `attempt ${attempt}`].filter(Boolean).join(", ");
  const cost = costUsd === null ? [] : [`  ${paint("dim", "cost ")}  $${costUsd}`];
  return [
    ...renderExchanges([exchange], paint, width),
    `  ${paint("dim", "at   ")}  ${at}${place === "" ? "" : `, ${place}`}`,
    ...cost,
    ...(replays === null ? [] : [`  ${paint("dim", "from ")}  ${replays} of the recording`]),
    "",
    ...renderBody("request", request, paint),
    "",
    ...renderBody("response", response, paint),
  ];
}

function renderBody(side: string, body: ExchangeBody, paint: Paint): string[] {
  const { state, truncated } = body;
  const remarks = [
    bytes(body.bytes),
    ...(state === "torn" ? ["the rest could not be written"] : []),
    ...(truncated ? ["its beginning"] : []),
  ];
  const heading = `${paint("bold", side)} ${paint("dim", state === "missing" ? "(not recorded)" : `(${remarks.join(", ")})`)}`;
  if (body.bytes === 0) return [heading];
  return [heading, printable(body.text ?? JSON.stringify(body.json, null, 2)).trimEnd()];
}
