import { editFileTool, writeFileTool } from "./edit-files.ts";
import { askUserTool, proposePlanTool, updatePlanTool } from "./people.ts";
import { listFilesTool, readFileTool } from "./read-files.ts";
import { runCommandTool } from "./run-command.ts";
import { searchTool } from "./search.ts";
import type { AgentTool } from "./tool.ts";

/** The tools by the names that models call them by. */
export const TOOLS: Readonly<Record<string, AgentTool<unknown>>> = {
  read_file: readFileTool,
  list_files: listFilesTool,
  search: searchTool,
  edit_file: editFileTool,
  write_file: writeFileTool,
  run_command: runCommandTool,
  update_plan: updatePlanTool,
  propose_plan: proposePlanTool,
  ask_user: askUserTool,
};
