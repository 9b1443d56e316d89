-- Environment variables and secrets of runs.

alter table runyard.organizations
  -- Plain configuration: names and values.
  add column environment json not null default '{}',
  -- Names of secrets that runs are given.
  add column secret_names text[] not null default '{}';
alter table runyard.repositories
  add column environment json not null default '{}',
  add column secret_names text[] not null default '{}';
