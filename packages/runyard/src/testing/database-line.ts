import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** What becomes of bytes on their way: they are carried, lost without a word, or the connection ends instead. */
type Fate = "carry" | "swallow" | "cut";

/** A line to a database. */
export interface DatabaseLine {
  /** The database's, by this line. */
  readonly url: string;
  /** Ends all its connections; new ones come through. */
  drop(): void;
  close(): void;
}

/** Opens a line to a database, which does with the bytes of both ways as it is told. */
export async function openDatabaseLine(target: string, fateOf: (data: Buffer, from: "client" | "database") => Fate): Promise<DatabaseLine> {
  const { hostname, port } = new URL(target);
  const host = decodeURIComponent(hostname);
  const place = host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host, port: Number(port) };
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const database = connect(place);
    const end = (): void => void [client.destroy(), database.destroy()];
    const join = (from: "client" | "database", source: Socket, sink: Socket): void => {
      sockets.add(source.on("error", () => undefined));
      source.on("close", () => {
        sockets.delete(source);
        end();
      });
      source.on("data", (data) => {
        const fate = fateOf(data, from);
        if (fate === "carry") sink.write(data);
        if (fate === "cut") end();
      });
    };
    join("client", client, database);
    join("database", database, client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: own } = server.address() as AddressInfo;
  const drop = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: target.replace(/@[^/]+\//, `@127.0.0.1:${own}/`),
    drop,
    close() {
      server.close();
      drop();
    },
  };
}
