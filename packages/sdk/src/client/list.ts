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
export function listFrom<ItemPage extends Page<Item>, Item>(
  transport: Transport,
  route: RouteName,
  { query, check, options }: Listing<Item>,
): Promise<ItemPage> & AsyncIterable<Item> {
  const fetchPage = async (asked: typeof query): Promise<ItemPage> => {
    const request = { method: "GET", path: pathOf(route), query: asked, accept: "application/json", repeatable: true } as const;
    const page = checked(await transport.json(request, options), { data: "array", has_more: "boolean" }) as ItemPage;
    page.data.forEach(check);
    return page;
  };
  const first = fetchPage(query);
  async function* all(): AsyncGenerator<Item, void> {
    for (let page = await first; ; page = await fetchPage({ ...query, cursor: page.next_cursor })) {
      yield* page.data;
      if (!page.has_more || page.next_cursor === null) return;
    }
  }
  return Object.assign(first, { [Symbol.asyncIterator]: all });
}
