-- Pull requests whose agents were all stopped by a person: no run of them goes on before somebody allows it again.

create table runyard.pull_request_stops (
  org_id text not null references runyard.organizations,
  -- The URL in lower case: names at GitHub are the same in any.
  key text not null,
  url text not null,
  stopped_by text not null,
  stopped_at timestamptz not null default now(),
  -- What its runs are cancelled with, and the events that say so.
  reason text not null,
  types text[] not null,
  data text[] not null,
  primary key (org_id, key)
);
call runyard.protect('runyard.pull_request_stops');

create index pull_requests_url on runyard.pull_requests (org_id, lower(url));

-- The pull requests that a run made, goes on with or reviews, as they are stopped by.
create function runyard.pull_requests_of(r runyard.runs) returns setof text
language sql stable set search_path = runyard, pg_temp as $f$
  select lower(p.url) from runyard.pull_requests p where p.run_id = r.id
  union all
  select lower(r.spec -> 'review' ->> 'url') where r.spec -> 'review' is not null
$f$;

-- Stops a pull request and cancels its runs that have not ended: a queued one, or one in nobody's hands, at once, others by
-- their runners. The organization's row is held first, as everybody does who lets a run go on or begin a turn, so that none
-- does beside it. Gives the runs that are cancelled by this.
create function runyard.stop_pull_request(
  p_key text, p_url text, p_by text, p_reason text, p_types text[], p_data text[]
) returns table (run_id text)
language plpgsql set search_path = runyard, pg_temp as $f$
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  insert into runyard.pull_request_stops (org_id, key, url, stopped_by, reason, types, data)
    values (runyard.current_org(), p_key, p_url, p_by, p_reason, p_types, p_data) on conflict do nothing;
  for run_id in
    select r.id from runyard.runs r
      where r.org_id = runyard.current_org() and not runyard.is_terminal(r.status) and r.cancel_reason is null
        and p_key in (select runyard.pull_requests_of(r))
      order by 1
  loop
    perform runyard.cancel_run(run_id, p_reason, p_types, p_data);
    return next;
  end loop;
end $f$;

-- No turn of such a run begins, whoever asks for it: nothing is updated.
create function runyard.keep_stopped() returns trigger
language plpgsql set search_path = runyard, pg_temp as $f$
begin
  return case when exists (select 1 from runyard.pull_request_stops s
    where s.org_id = new.org_id and s.key in (select runyard.pull_requests_of(new))) then null else new end;
end $f$;
create trigger keep_stopped before update of turn on runyard.runs for each row
  when (new.turn > old.turn)
  execute function runyard.keep_stopped();

-- A pull request may be stopped between the moment when it is opened and the one when its run says that it has it.
create function runyard.cancel_if_stopped() returns trigger
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  stop runyard.pull_request_stops;
begin
  perform 1 from runyard.org_slots s where s.org_id = new.org_id for no key update;
  select s.* into stop from runyard.pull_request_stops s where s.org_id = new.org_id and s.key = lower(new.url);
  if stop.url is not null
    and exists (select 1 from runyard.runs r where r.id = new.run_id and r.cancel_reason is null and not runyard.is_terminal(r.status)) then
    perform runyard.cancel_run(new.run_id, stop.reason, stop.types, stop.data);
  end if;
  return null;
end $f$;
create trigger cancel_if_stopped after insert on runyard.pull_requests for each row
  execute function runyard.cancel_if_stopped();
