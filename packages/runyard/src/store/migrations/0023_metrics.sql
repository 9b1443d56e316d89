-- What the commands of runs used of their machine, now and then.

create table runyard.samples (
  run_id text not null references runyard.runs,
  at timestamptz not null,
  org_id text not null references runyard.organizations,
  turn int not null,
  attempt int not null,
  -- `agent`, or `verify-<round>-<index>`: each counts for itself.
  step text not null,
  -- What was not measured is null.
  cpu_ms bigint,
  memory_bytes bigint,
  memory_peak_bytes bigint,
  processes bigint,
  threads bigint,
  disk_bytes bigint,
  primary key (run_id, at)
);
call runyard.protect('runyard.samples');
