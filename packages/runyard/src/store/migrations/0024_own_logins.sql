-- What an agent calls with a login of its own is paid with a subscription, which no cap in dollars counts.

create or replace function runyard.is_free(p_run runyard.runs) returns boolean
language sql immutable as $f$
  select p_run.simulated or p_run.replay is not null or coalesce(p_run.spec ->> 'login', '') = 'own'
$f$;
