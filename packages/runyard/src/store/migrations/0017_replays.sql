-- A run may be the replay of another one: its agent is answered from that one's recording, which lies on the machine
-- of one runner.

alter table runyard.runs
  -- The run that is replayed, what is compared with it, and what came of that, as json of the store's; null: no replay.
  add column replay json,
  -- The only runner that may take the run up, as claim_run (0019) sees to; null: whichever is there.
  add column only_runner text;
