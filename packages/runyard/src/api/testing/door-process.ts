// A door in a process of its own, on the database of the test that started it: prints its address, serves until stdin ends.
import { openDatabase } from "../../store/database.ts";
import { openServedDoor } from "./served.ts";

const db = openDatabase({ connectionString: process.env["DATABASE_URL"] ?? "", applicationName: "runyard-test-door" });
const { door } = await openServedDoor(db);
process.stdout.write(`${door.url}\n`);
process.stdin.resume().once("end", () => {
  void door
    .close()
    .then(() => db.close())
    .then(() => process.exit(0));
});
