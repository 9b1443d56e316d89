-- Pull requests of runs, as they were when they were last seen.

create table runyard.pull_requests (
  run_id text not null references runyard.runs,
  url text not null,
  org_id text not null references runyard.organizations,
  document json not null,
  num bigint generated always as identity,
  seen_at timestamptz not null default now(),
  primary key (run_id, url)
);
call runyard.protect('runyard.pull_requests');
