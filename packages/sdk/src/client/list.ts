import type { RouteName } from "../contract/routes.ts";
import { checked } from "./answers.ts";
import { pathOf } from "./paths.ts";
import type { ApiRequest, RequestOptions, Transport } from "./transport.ts";

interface Page<Item> {
  readonly data: readonly Item[];
  readonly has_more: boolean;
  readonly next_cursor: string | null;
}

interface Listing<Item> {
  readonly query: NonNullable<ApiRequest["query"]>;
  /** Throws for what is no such item. */
  readonly check: (value: unknown) => Item;
  readonly options: RequestOptions | undefined;
}

/** Asks for a page of a list at once; to iterate over it goes on with the pages behind. */
export function listFrom<Item, ItemPage extends Page<Item>>(
  transport: Transport,
  route: RouteName,
  { query, check, options }: Listing<Item>,
): Promise<ItemPage> & AsyncIterable<Item> {
  const request = { method: "GET", path: pathOf(route), accept: "application/json", repeatable: true } as const;
  const fetchPage = async (more: ApiRequest["query"]): Promise<ItemPage> => {
    const answer = await transport.json({ ...request, query: { ...query, ...more } }, options);
    const page = checked(answer, { data: "array", has_more: "boolean" }) as ItemPage;
    page.data.forEach(check);
    return page;
  };
  const first = fetchPage({});
  async function* all(): AsyncGenerator<Item, void> {
    for (let page = await first; ; page = await fetchPage({ cursor: page.next_cursor ?? undefined })) {
      yield* page.data;
      if (!page.has_more || page.next_cursor === null) return;
    }
  }
  return Object.assign(first, { [Symbol.asyncIterator]: all });
}
