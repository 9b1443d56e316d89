import { z } from "zod";

const schemaSchema = z.looseObject({
  type: z.string().catch("object"),
  enum: z.array(z.unknown()).min(1).optional().catch(undefined),
  minimum: z.number().catch(1),
  properties: z.record(z.string(), z.unknown()).catch({}),
});

/** The plainest value that fits a JSON Schema of the kind that agents ask models to answer by. */
export function exampleOf(schema: unknown): unknown {
  const known = schemaSchema.safeParse(schema).data;
  if (known === undefined) return null;
  if (known.enum !== undefined) return known.enum[0];
  switch (known.type.toLowerCase()) {
    case "string":
      return "simulated";
    case "number":
    case "integer":
      return known.minimum;
    case "boolean":
      return false;
    case "array":
      return [];
    default:
      return Object.fromEntries(Object.entries(known.properties).map(([name, property]) => [name, exampleOf(property)]));
  }
}
